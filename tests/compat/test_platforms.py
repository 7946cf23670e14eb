"""Platforms that ship TensorRT: each release stands for one that doctor can be asked about."""

from __future__ import annotations

import pytest

from enginesmith.compat.platforms import platforms
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
    shipped = [numbers(release.tensorrt) for release in releases.values()]
    assert shipped == sorted(shipped)
