"""The options of TensorRT's builder: built with TensorRT-RTX, or refused with what to do instead."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_onnx
from running import PROBE, Answer

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.tensorrt import options
from enginesmith.converters.backends.tensorrt.product import DATACENTER
from enginesmith.converters.core.builder_options import BuilderOptions
from enginesmith.converters.core.isolated import Isolated

Cli = Callable[..., Answer]
RTX = ("--backend", "tensorrt-rtx", "--target", "sm_86", "--measure", "0", "--no-simplify", "--samples", "1")
EVERY = BuilderOptions(
    workspace=2**30,
    optimization_level=4,
    version_compatible=True,
    hardware_compatible="ampere+",
    refittable=True,
    strip_plan=True,
    weight_streaming=True,
    timing_cache=Path("t.cache"),
    aux_streams=2,
    tf32=False,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_onnx.linear(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--no-tf32"], "--no-tf32"),
        (["--workspace", "64MB"], "--workspace=64000000"),
        (["--weight-streaming"], "--weight-streaming"),
    ],
)
def test_an_option_is_in_the_engine_and_in_its_record(
    flags, told, model: Path, enginesmith: Cli, tmp_path: Path
) -> None:
    plain = enginesmith("build", str(model), *RTX, "--out", "plain")
    built = enginesmith("build", str(model), *RTX, *flags, "--out", "other")
    assert (plain.status, built.status) == (0, 0), built.err
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("plain", "other")]
    before, after = (manifest["engines"][0] for manifest in manifests)
    assert "options" not in before["details"]
    assert after["details"]["options"] == told
    if flags != ["--workspace", "64MB"]:
        assert before["sha256"] != after["sha256"]
    read = json.loads(enginesmith("inspect", "other", "--json").out)[0]["contents"]
    assert read["TF32 allowed"] == ("no" if flags == ["--no-tf32"] else "yes")


@pytest.mark.parametrize("name", [*options.REFUSED])
def test_tensorrt_rtx_refuses_what_it_lacks_in_one_line(name: str, model: Path, enginesmith: Cli) -> None:
    value = {
        "optimization_level": ["5"],
        "hardware_compatible": ["ampere+"],
        "timing_cache": ["f"],
        "aux_streams": ["1"],
    }
    flag = f"--{name.replace('_', '-')}"
    done = enginesmith("build", str(model), *RTX, flag, *value.get(name, []))
    assert done.status == 2
    assert f"tensorrt-rtx has no {flag}: " in done.err
    assert done.err.count("\n") == 1


def test_a_build_without_tensorrt_refuses_them(model: Path, enginesmith: Cli) -> None:
    done = enginesmith("build", str(model), "--backend", "tvm", "--workspace", "1GB")
    assert done.status == 2
    assert "workspace is for TensorRT's engines" in done.err


@pytest.mark.parametrize(
    "flags", [["--workspace", "much"], ["--hardware-compatible", "all"], ["--optimization-level", "6"]]
)
def test_a_value_that_is_none_is_refused(flags: list[str], model: Path, enginesmith: Cli) -> None:
    assert enginesmith("build", str(model), *RTX, *flags).status == 2


def test_tensorrt_has_them_all() -> None:
    assert options.refused(DATACENTER, EVERY) == ""
    assert get_backend("tvm").refuses(EVERY) == ""


def test_they_are_set_on_the_builders_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROBE), prepend=os.pathsep)
    with Isolated(without_torch=True) as process:
        found = process.call("builder_setters:setters", EVERY.model_dump(mode="json"), timeout=120)
    assert found == {
        "flags": ["REFIT", "STRIP_PLAN", "VERSION_COMPATIBLE", "WEIGHT_STREAMING"],
        "workspace": 2**30,
        "aux_streams": 2,
    }


def test_a_version_that_lacks_one_says_so() -> None:
    class Old:
        __name__, __version__ = "tensorrt", "8.5"
        BuilderFlag = object()

    with pytest.raises(Exception, match=r"tensorrt 8.5 has no --weight-streaming") as error:
        options.apply(Old(), None, BuilderOptions(weight_streaming=True))
    assert type(error.value).__name__ == "UserError"


def test_the_vendors_tools_are_told_the_same() -> None:
    assert list(options.trtexec(EVERY)) == [
        "--memPoolSize=workspace:1024",
        "--builderOptimizationLevel=4",
        "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+",
        "--refit",
        "--stripWeights",
        "--allowWeightStreaming",
        "--maxAuxStreams=2",
        "--noTF32",
    ]
    assert "--pool-limit" in list(options.polygraphy(EVERY))
