"""Builds for a platform: what it can't load is refused before anything is built, or told of beside engines that don't need it."""

from __future__ import annotations

import pytest

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.plan import EngineTarget
from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.job.platform import check

ORIN = EngineTarget("tensorrt", "sm_87")
RTX = EngineTarget("tensorrt-rtx", "sm_89")
CPU = EngineTarget("tvm", "x86-64-v3")


def asked(platform: str, engines: list[EngineTarget], backend: str = "tensorrt") -> tuple[str, ...]:
    return check(Recipe(model="m.onnx", backend=backend, platform=platform), engines)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with TensorRT 10.3."""
    monkeypatch.setattr(get_backend("tensorrt"), "version", lambda: "10.3.0.30")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("platform", ["jetpack=6.2", "jetpack=6.1,jetpack=6.2", "jetpack=6.2,", " ,", ""])
def test_the_platforms_own_version_is_built(platform: str) -> None:
    assert asked(platform, [ORIN]) == ()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ("jetpack=5.1", "JetPack 5.1 ships TensorRT 8.5, which can't load an engine of 10.3.0.30"),
        ("jetpack=6.2,triton=26.07", "Triton's container 26.07 ships TensorRT 11.1.0"),
        ("nvcr=tensorrt:26.07-py3", "nvcr.io/nvidia/tensorrt:26.07-py3 ships TensorRT 11.1.0"),
        ("triton=99.01", "is not on record; known are 19.07"),
        ("trition=26.07", "triton"),
        ("nvcr=tritonserve:26.07", "tritonserver"),
        ("jetpack", "jetpack: give a release"),
    ],
)
def test_another_version_is_refused(platform: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        asked(platform, [ORIN])


@pytest.mark.usefixtures("installed")
def test_another_gpu_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"JetPack 6.2 runs on GPUs of compute capability 8.7, and the engine is for sm_89"
    ):
        asked("jetpack=6.2", [EngineTarget("tensorrt", "sm_89")])


def test_an_engine_of_the_other_product_is_refused() -> None:
    with pytest.raises(UserError, match="can't load an engine of tensorrt-rtx"):
        asked("triton=26.07", [RTX, CPU], backend="tensorrt-rtx,tvm")


def test_where_the_machine_chose_the_backends_the_others_are_built() -> None:
    (told,) = asked("triton=26.07", [RTX, CPU], backend="auto")
    assert "can't load an engine of tensorrt-rtx" in told
    with pytest.raises(UserError, match="tensorrt-rtx"):
        asked("triton=26.07", [RTX], backend="auto")
