"""`enginesmith.build` with objects of this process, and the engines that it returns."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import enginesmith
from enginesmith import ConversionError, Engine, Event, Result, UserError
from enginesmith.converters.backends.tensorrt.gpu import local_gpus
from enginesmith.converters.core import live
from enginesmith.converters.core.user_code import check_defined, function_from_file
from enginesmith.converters.stages.finetune import FinetuneOptions
from enginesmith.pipeline.api.objects import as_recipe
from enginesmith.pipeline.job.plan import make_plan
from enginesmith.pipeline.job.recipe import make_recipe
from enginesmith.pipeline.job.store import Store

HERE = Path(__file__).parent


def graph(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> {text}')


RELU = "relu (float[1, 4] x) => (float[1, 4] y) { y = Relu (x) }"
NOISE = "noise (float[1, 4] x) => (float[1, 4] y) { n = RandomUniformLike (x) y = Add (x, n) }"


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def built(folder: Path, shared_store: Path, events: list[Event]) -> Result:
    return enginesmith.build(
        nets.net(),
        nets.pictures(1),
        backend="tvm,tensorrt-rtx",
        target="sm_89,native",
        measure=0,
        store=shared_store,
        out=folder / "net",
        progress=events.append,
    )


@pytest.fixture(scope="module")
def engine(built: Result) -> Iterator[Engine]:
    with next(engine for engine in built.engines if engine.backend == "tvm") as engine:
        yield engine


@pytest.fixture
def quick(tmp_path: Path) -> dict[str, Any]:
    """For builds that are there to be looked at, and not for their engine."""
    return {"backend": "tvm", "simplify": False, "measure": 0, "out": tmp_path / "out"}


def test_a_live_module_becomes_verified_engines(built: Result, events: list[Event]) -> None:
    assert built.success
    assert {engine.backend: engine.verified for engine in built.engines}["tvm"] == "yes"
    assert built.manifest.model.name == "Net"
    assert built.report.is_file()
    assert (events[0].event, events[0].total) == ("plan", len(built.manifest.stages))
    assert {"start", "built"} <= {event.event for event in events}
    assert all(engine.path.stat().st_size == engine.size for engine in built.engines)


def test_another_process_takes_the_same_build_from_the_store(built: Result, shared_store: Path) -> None:
    code = f"""
import nets, enginesmith
result = enginesmith.build(nets.net(), nets.pictures(1), backend="tvm,tensorrt-rtx", target="sm_89,native", measure=0,
    store={str(shared_store)!r}, out={str(built.folder)!r})
print(*{{record.status for record in result.manifest.stages}}, sep=",")
"""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert {*done.stdout.strip().split(",")} <= {"cached", "not run"}


def test_an_engine_takes_and_returns_tensors_or_arrays(engine: Engine) -> None:
    x = nets.pictures(3)[2:]
    with torch.no_grad():
        expected = nets.net()(x)
    (found,) = engine(x).values()
    assert isinstance(found, torch.Tensor)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for outputs in (engine(x.numpy()), engine(x=x.numpy()), engine({"x": x.numpy()})):
        (array,) = outputs.values()
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, found.numpy())
    assert engine.seconds


@pytest.mark.parametrize(
    ("inputs", "named", "said"),
    [
        ((), {}, "the engine needs x too; its inputs are x"),
        ((), {"y": np.zeros(1)}, "has no input y and needs x too"),
        ((np.zeros((1, 3, 16, 16)),), {}, "input x is float64, and the engine takes float32"),
        ((np.zeros((3, 16, 16), np.float32),), {}, "input x is 3x16x16, and the engine takes 1x3x16x16"),
        ((np.zeros((2, 3, 16, 16), np.float32),), {}, "input x is 2x3x16x16"),
        (([1.0],), {}, "input x is of type list"),
        ((np.zeros(1), np.zeros(1)), {}, "2 inputs, and the engine takes x"),
        ((np.zeros(1),), {"x": np.zeros(1)}, "given twice"),
    ],
)
def test_inputs_that_do_not_fit_are_one_line(engine: Engine, inputs: Any, named: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        engine(*inputs, **named)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(bool(local_gpus()), reason="there is a GPU")
def test_an_engine_for_a_gpu_says_that_there_is_none(built: Result) -> None:
    engine = next(engine for engine in built.engines if engine.backend == "tensorrt-rtx")
    with pytest.raises(UserError, match=r"tensorrt-rtx: engine.trt can't run here: no GPU"):
        engine(nets.pictures(1))


def test_an_engine_whose_process_was_killed_runs_again(engine: Engine) -> None:
    before = engine(nets.pictures(1))
    process = engine._process._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    after = engine(nets.pictures(1))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_engine_that_is_gone_leaves_no_process(built: Result) -> None:
    engine = Engine(next(each.record for each in built.engines if each.backend == "tvm"), built.folder)
    engine(nets.pictures(1))
    process = engine._process._process
    assert process is not None
    del engine
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_notebook_shows_a_result_without_taking_its_names_for_html(built: Result) -> None:
    page = built._repr_html_()
    assert page.count("<tr>") == 1 + len(built.engines)
    assert built.report.as_uri() in page
    hostile = built.manifest.model_copy(update={"warnings": ["<script>"], "precision": "<b>"})
    page = Result(built.folder, hostile)._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "<b>:" not in page
    assert "tvm" in repr(built)
    assert "verified: yes" in repr([engine for engine in built.engines if engine.backend == "tvm"])


def test_a_result_is_read_back_from_its_folder(built: Result) -> None:
    again = Result.open(built.folder)
    assert again.manifest.model == built.manifest.model
    assert [engine.path for engine in again.engines] == [engine.path for engine in built.engines]
    with pytest.raises(UserError, match=r"has no manifest.json"):
        Result.open(built.folder / "logs")


def share_of_largest(outputs: list[dict[str, Any]], targets: list[Any]) -> float:
    """How often the largest score is the target."""
    scores = [
        int(next(iter(output.values())).argmax()) == int(target)
        for output, target in zip(outputs, targets, strict=True)
    ]
    return sum(scores) / len(scores)


def test_data_of_a_loader_and_a_metric_of_this_process(tmp_path: Path) -> None:
    module = nets.net()
    rows = nets.pictures(48)
    with torch.no_grad():
        labels = module(rows).argmax(1)
    loader = DataLoader(TensorDataset(rows, labels), batch_size=4)
    result = enginesmith.build(
        module,
        nets.pictures(1),
        precision="int8",
        backend="tvm",
        simplify=False,
        calib=(row for row in rows[:16]),
        eval=loader,
        metric=lambda outputs, targets: share_of_largest(outputs, targets),
        evaluated=40,
        measure=0,
        out=tmp_path / "out",
    )
    stages = {record.id: record for record in result.manifest.stages}
    accuracy = stages["accuracy"].facts.accuracy  # type: ignore[attr-defined]
    assert (accuracy.data, accuracy.examples, accuracy.weak) == ("DataLoader", 40, False)
    assert accuracy.before == 1.0
    assert accuracy.after > 0.5
    assert result.engines[0].verified == "yes"


def test_a_graph_in_memory(quick: dict[str, Any]) -> None:
    result = enginesmith.build(graph(RELU), **quick)
    assert result.manifest.model.name == "relu"
    (y,) = result.engines[0](np.array([[-1, 0, 1, math.inf]], np.float32)).values()
    assert y.tolist() == [[0, 0, 1, math.inf]]


def test_a_stage_that_fails_is_an_exception_with_its_cause_and_its_result(quick: dict[str, Any]) -> None:
    with pytest.raises(ConversionError) as raised:
        enginesmith.build(graph(NOISE), **quick)
    error = raised.value
    assert isinstance(error, enginesmith.BuildError)
    assert (error.stage, error.bug) == ("compare import", False)
    assert error.cause in str(error)
    assert Path(error.log).is_file()
    assert error.result is not None
    assert not error.result.success
    assert "compare import failed" in error.result._repr_html_()
    result = enginesmith.build(graph(NOISE), **quick, keep_going=True)
    assert not result.success
    (compiled,) = [record for record in result.manifest.stages if record.stage == "compile"]
    assert compiled.status != "skipped"


def scaled(module: torch.nn.Module) -> None:
    with torch.no_grad():
        module.get_submodule("fc").bias.mul_(2)  # type: ignore[operator,union-attr]


def test_a_function_that_trains_is_what_the_worker_gets(shared_store: Path) -> None:
    options = {"precision": "int8", "qat": True, "finetune": scaled, "backend": "tvm"}
    with as_recipe(nets.net(), nets.pictures(1), options, Store(shared_store)) as values:
        stages = make_plan(make_recipe(values)).stages
        told = next(stage.options for stage in stages if stage.stage == "finetune")
        assert isinstance(told, FinetuneOptions)
        assert told.function_path is not None
        loaded, module = told.load().module, nets.net()
        function_from_file(told.function_path, told.function)(loaded)
    torch.testing.assert_close(loaded.state_dict()["fc.bias"], 2 * module.fc.bias)
    torch.testing.assert_close(loaded.state_dict()["fc.weight"], module.fc.weight)


def test_torchscript_takes_its_shapes_from_the_inputs(shared_store: Path) -> None:
    traced = torch.jit.trace(nets.net(), nets.pictures(2))
    with as_recipe(traced, nets.pictures(2), {}, Store(shared_store)) as values:
        assert Path(values["model"]).name == "Net.pt"
        assert values["shape"] == "2x3x16x16"


def test_an_engine_ends_with_the_process_that_uses_it(built: Result) -> None:
    code = f"""
import os, signal, numpy as np
from enginesmith import Result
(engine,) = [each for each in Result.open({str(built.folder)!r}).engines if each.backend == "tvm"]
engine(np.zeros((1, 3, 16, 16), np.float32))
print(engine._process._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    child = Path(f"/proc/{int(done.stdout)}")
    deadline = time.monotonic() + 10
    while child.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists()


class Locked(torch.nn.Identity):
    def __init__(self) -> None:
        super().__init__()
        self.file = open(os.devnull)  # noqa: SIM115 - what can't be pickled


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (3, {}, "and no int"),
        ("lenet", {"inputs": torch.zeros(1)}, "inputs go with a torch.nn.Module"),
        ("lenet", {"precison": "int8"}, "did you mean 'precision'"),
        ("lenet", {"precision": "int8", "calib": 3}, "calib is a int; give an iterable"),
        ("lenet", {"precision": "int8", "metric": [3]}, "metric is a list; give a function"),
        ("lenet", {"precision": "int8", "calib": [object()]}, "list, example 0 holds a object"),
        (torch.nn.Identity(), {}, "this model has no default shape"),
        (torch.nn.Identity(), {"inputs": "abc"}, "the inputs hold no tensor; give one"),
        (torch.nn.Identity(), {"inputs": [1, 2]}, "the inputs hold no tensor; give one"),
        (Locked(), {}, "the module Locked can't be pickled"),
    ],
)
def test_bad_requests(quick: dict[str, Any], model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        enginesmith.build(model, **{**quick, **options})


def test_a_pickled_module_of_another_process_needs_trust(built: Result, tmp_path: Path) -> None:
    """The very file that this process loads without."""
    path = Path(str(built.manifest.recipe["model"]))
    assert path.suffix == live.MODULE
    command = [sys.executable, "-m", "enginesmith", "build", str(path), "--backend", "tvm", "--measure", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "if you trust it, give --trust" in done.stderr


def test_a_file_that_was_changed_is_no_longer_this_process_s_own(tmp_path: Path) -> None:
    path = tmp_path / f"f{live.FUNCTION}"
    live.write_function(len, path)
    assert not live.is_made(path)
    live.made(path)
    assert live.is_made(path)
    check_defined(path, "f")
    live.write_function(print, path)
    assert not live.is_made(path)
    with pytest.raises(UserError, match="a function of another process"):
        check_defined(path, "f")
