"""Platforms that ship TensorRT: each release stands for one that doctor can be asked about."""

from __future__ import annotations

import pytest

from enginesmith.compat.platforms import find, platforms
from enginesmith.compat.target import numbers
from enginesmith.pipeline.job.doctor import wanted

RELEASES = [(name, release) for name, platform in platforms().items() for release in platform.releases]


@pytest.mark.parametrize(("name", "release"), RELEASES)
def test_a_release_is_read_as_its_tensorrt(name: str, release: str) -> None:
    (found,) = wanted(f"{name}={release}")
    assert (found.backend, found.version) == ("tensorrt", platforms()[name].releases[release].tensorrt)


@pytest.mark.parametrize("name", platforms())
def test_a_newer_release_ships_no_older_one(name: str) -> None:
    releases = platforms()[name].releases
    assert list(releases) == sorted(releases, key=numbers)
    for of in ("tensorrt", "cuda"):
        shipped = [numbers(version) for release in releases.values() if (version := getattr(release, of))]
        short = min(map(len, shipped), default=0)  # pages give versions of different length
        assert [version[:short] for version in shipped] == sorted(version[:short] for version in shipped)


@pytest.mark.parametrize(
    ("asked", "tensorrt"),
    [
        ("26.07", "11.1.0"),
        ("tensorrt:26.07-py3", "11.1.0"),
        ("tensorrt:26.07", "11.1.0"),
        ("nvcr.io/nvidia/tritonserver:25.10-py3", "10.13.3"),
        ("tritonserver:25.10-trtllm-python-py3", "10.11.0"),
        ("pytorch:19.10-py3", "6.0.1"),
    ],
)
def test_an_image_is_found_by_its_tag(asked: str, tensorrt: str) -> None:
    (found,) = wanted(f"nvcr={asked}")
    assert found.version == tensorrt


def test_another_image_is_not_known() -> None:
    with pytest.raises(KeyError, match="cuda"):
        find("nvcr", "cuda:12.6")


@pytest.mark.parametrize(
    ("name", "release", "capability", "runs"),
    [
        ("jetpack", "5.0.2", (8, 7), True),
        ("jetpack", "5.0.2", (8, 9), False),
        ("jetpack", "7.0", (11, 0), True),
        ("triton", "26.07", (7, 0), False),
        ("triton", "26.07", (12, 0), True),
        ("drive", "6.0.6", (8, 9), True),
    ],
)
def test_the_gpus_of_a_platform(name: str, release: str, capability: tuple[int, int], runs: bool) -> None:
    """Where the page doesn't say, no GPU is refused."""
    assert platforms()[name].releases[release].runs_on(capability) == runs
