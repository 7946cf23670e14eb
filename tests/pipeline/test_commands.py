"""`build --print-commands`: command lines of the vendors' tools that do what the build did."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_onnx
from running import CommandLine

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.inputs import Dim, InputSpec
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.graphs import interface
from enginesmith.pipeline.job.commands import command_lines
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.job.store import Store

BUILD = ("--backend", "tensorrt-rtx,tvm", "--target", "sm_86,native", "--measure", "0", "--no-simplify")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_store: Path) -> tuple[CommandLine, Manifest, list[str]]:
    """A build in a folder whose name needs quotes, and what it printed beside its JSON."""
    folder = tmp_path_factory.mktemp("with a space")
    model = tiny_onnx.linear(folder / "tiny.onnx")
    shell = CommandLine(folder, shared_store)
    done = shell.run("build", str(model), *BUILD, "--out", "out", "--print-commands", "--json")
    assert done.returncode == 0, done.stderr
    return shell, Manifest.model_validate_json(done.stdout), done.stderr.splitlines()


Built = tuple[CommandLine, Manifest, list[str]]


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-c", line]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": tools}, capture_output=True, text=True, check=False
    )


def test_polygraphy_builds_the_same_engine_from_its_line(built: Built) -> None:
    shell, _, lines = built
    (line,) = (line for line in lines if "polygraphy convert" in line)
    done = run(line, shell.folder)
    assert done.returncode == 0, done.stderr + done.stdout
    plan = shell.folder / "tensorrt-rtx_sm_86.plan"
    engine = shell.folder / "out" / "tensorrt-rtx_sm_86" / "engine.trt"
    assert plan.stat().st_size == pytest.approx(engine.stat().st_size, rel=0.05)


def test_the_graph_of_a_tvm_module_runs_on_the_samples_of_the_build(built: Built) -> None:
    shell, _, lines = built
    start = next(i for i, line in enumerate(lines) if line.startswith("# compile tvm"))
    assert "no command line of its own" in lines[start + 1]
    done = run(lines[start + 2], shell.folder)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "PASSED" in done.stdout


def test_nothing_else_is_on_standard_output(built: Built) -> None:
    shell, _, lines = built
    (line,) = (line for line in lines if line.startswith("tensorrt_rtx "))
    graph = shell.folder / "out" / "model.onnx"
    assert shlex.split(line) == [
        "tensorrt_rtx",
        f"--onnx={graph}",
        "--saveEngine=tensorrt-rtx_sm_86.plan",
        "--computeCapabilities=86",
        "--skipInference",
    ]


def as_tensorrt(built: Built) -> Manifest:
    """The same as if it had been TensorRT, on a machine with a GPU, from a sparse model."""
    _, manifest, _ = built
    other = manifest.model_copy(deep=True)
    for stage in other.stages:
        if stage.backend == "tensorrt-rtx":
            stage.backend, stage.target = "tensorrt", "sm_89"
    other.recipe["sparse"] = True
    return other


@pytest.fixture
def dynamic(built: Built, tmp_path: Path) -> Store:
    """A store that holds the samples of the build, as if its first dimension were dynamic."""
    _, manifest, _ = built
    store = Store(tmp_path / "store")
    folder = store.files(manifest.stages[0].key)
    folder.mkdir(parents=True)
    dims = (Dim(min=1, opt=4, max=16), Dim(min=4, opt=4, max=4))
    SampleSet(task="tensor", specs=(InputSpec(name="x", dims=dims),), samples=[]).save(folder, [])
    return store


def test_tensorrt_gets_shapes_types_sparsity_and_the_timing_cache(built: Built, dynamic: Store) -> None:
    shell, _, _ = built
    lines = list(command_lines(as_tensorrt(built), shell.folder / "out", dynamic))
    start = next(i for i, line in enumerate(lines) if line.startswith("trtexec "))
    trtexec, convert, compare = map(shlex.split, lines[start : start + 3])
    cache = f"{dynamic.root}/timing/compile/tensorrt/tensorrt-{get_backend('tensorrt').version()}-sm_89.timing"
    assert trtexec[3:] == [
        "--minShapes=x:1x4",
        "--optShapes=x:4x4",
        "--maxShapes=x:16x4",
        "--sparsity=enable",
        "--stronglyTyped",
        f"--timingCacheFile={cache}",
        "--skipInference",
    ]
    shapes = ["--trt-min-shapes", "x:[1,4]", "--trt-opt-shapes", "x:[4,4]", "--trt-max-shapes", "x:[16,4]"]
    ways = [*shapes, "--sparse-weights", "--strongly-typed", "--load-timing-cache", cache]
    assert convert[-len(ways) :] == ways
    samples = str(dynamic.files(as_tensorrt(built).stages[0].key) / "inputs.json")
    assert compare[compare.index("--load-inputs") + 1] == samples
    assert compare[compare.index("--atol") + 1].startswith("y:")


def test_a_repaired_graph_of_other_inputs_gets_none_of_the_samples(built: Built, tmp_path: Path) -> None:
    shell, manifest, _ = built
    folder = tmp_path / "out"
    branch = folder / "tensorrt-rtx_sm_86"
    branch.mkdir(parents=True)
    for place in (folder, branch):
        tiny_onnx.linear(place / "model.onnx")
    (branch / interface.FILE).touch()
    lines = list(command_lines(manifest, folder, Store(shell.store)))
    ours = lines[: next(i for i, line in enumerate(lines) if "tvm" in line)]
    assert not any("--load-inputs" in line for line in ours)
    assert all(str(branch / "model.onnx") in line for line in ours if not line.startswith("#"))
    assert any("samples don't fit" in line for line in ours)
