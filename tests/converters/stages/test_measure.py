"""Timing: runs alternate, medians, when it stops, and once for real on TVM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pydantic import ValidationError
from stages import context, write_samples

from enginesmith.converters.core import timing
from enginesmith.converters.core.records import Latency
from enginesmith.converters.core.timing import FEWEST_RUNS, MOST_RUNS
from enginesmith.converters.stages import measure
from enginesmith.converters.stages.measure import Measure, MeasureOptions


class Clock:
    """Stands still but for the runs."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Runner:
    """Takes the given times, one after the other, the last one again and again."""

    def __init__(self, name: str, times: list[float], clock: Clock, log: list[str]) -> None:
        self.name, self.times, self.clock, self.log = name, times, clock, log
        self.open = False

    def __enter__(self) -> Runner:
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def infer(self, feed: dict[str, Any]) -> None:
        assert self.open
        assert set(feed) == {"x"}
        self.log.append(self.name)
        self.last = self.times.pop(0) if len(self.times) > 1 else self.times[0]
        self.clock.now += self.last

    def last_inference_time(self) -> float:
        return self.last


class Fake:
    """Both sides of a measurement, without engines."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.log, self.clock, self.threads = folder, [], Clock(), []
        self.monkeypatch = monkeypatch
        write_samples(folder / "samples", "x:2", lambda x: {"y": x})

    def run(self, engine: list[float], reference: list[float], seconds: float, threads: int = 1) -> Latency:
        runners = {
            "engine": Runner("engine", engine, self.clock, self.log),
            "reference": Runner("reference", reference, self.clock, self.log),
        }
        fake = self

        class Backend:
            engine_file = "engine.bin"

            def runner(self, path: Path, threads: int) -> Runner:
                assert path == fake.folder / "engine.bin"
                fake.threads.append(threads)
                return runners["engine"]

            def layer_times(self, *given: Any) -> None:
                return None

        def reference_runner(path: Path, threads: int, shipped: bool) -> Runner:
            assert shipped, "the times of operators that nobody runs"
            assert path == fake.folder / "model.onnx"
            fake.threads.append(threads)
            return runners["reference"]

        self.monkeypatch.setattr(measure, "get_backend", lambda name: Backend())
        self.monkeypatch.setattr(measure.onnxruntime, "runner", reference_runner)
        self.monkeypatch.setattr(timing, "time", self.clock)
        inputs = {"samples": self.folder / "samples", "engine": self.folder, "model": self.folder}
        options = MeasureOptions(backend="fake", target="", seconds=seconds, threads=threads, machine="")
        facts = Measure().run(inputs, options, context(self.folder / f"out{len(self.log)}"))
        assert facts.latency is not None
        self.note = facts.note
        return facts.latency


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(tmp_path, monkeypatch)


def test_runs_alternate(fake: Fake) -> None:
    """After one run of each to warm up, each pair in the other order than the one before."""
    latency = fake.run([1.0], [1.0], seconds=8.5)
    assert fake.log[:2] == ["engine", "reference"]
    pairs = [tuple(fake.log[i : i + 2]) for i in range(2, len(fake.log), 2)]
    assert pairs == [("engine", "reference"), ("reference", "engine")] * 2 + [("engine", "reference")]
    assert latency.runs == 5


def test_medians_without_the_first_runs(fake: Fake) -> None:
    latency = fake.run([99.0, 0.001, 0.002, 0.9], [50.0, 0.004, 0.003, 0.005], seconds=0.9)
    assert latency.runs == 3
    assert latency.engine_ms == pytest.approx(2)
    assert latency.onnxruntime_ms == pytest.approx(4)
    assert latency.ratio == pytest.approx(0.5)
    assert fake.note == "2 ms, ONNX Runtime 4 ms: 2 times faster than ONNX Runtime"


def test_slower_is_said(fake: Fake) -> None:
    fake.run([0.3], [0.1], seconds=1)
    assert fake.note == "300 ms, ONNX Runtime 100 ms: 3 times slower than ONNX Runtime"


@pytest.mark.parametrize(
    ("each", "seconds", "runs"),
    [
        (0.0001, 100.0, MOST_RUNS),
        (0.5, 10.0, 11),
        (3.0, 10.0, FEWEST_RUNS),  # slow, but not too slow for a median
        (40.0, 10.0, 1),  # one pair is longer than all the time given
    ],
)
def test_when_it_stops(fake: Fake, each: float, seconds: float, runs: int) -> None:
    assert fake.run([each], [each], seconds).runs == runs


def test_both_get_the_same_threads(fake: Fake) -> None:
    assert fake.run([1.0], [1.0], 1.0, threads=3).threads == 3
    assert fake.run([1.0], [1.0], 1.0, threads=0).threads == len(os.sched_getaffinity(0))
    assert fake.threads == [3, 3, *[len(os.sched_getaffinity(0))] * 2]


def test_no_time_is_no_measurement() -> None:
    with pytest.raises(ValidationError):
        MeasureOptions(backend="tvm", target="", seconds=0, threads=0, machine="")


def test_tvm(tmp_path: Path) -> None:
    """Compile, compare and measure a small network at two shapes, in a process as a worker is: TVM and torch don't go
    together. Then with a kernel that adds what it should multiply, which the comparison finds.
    """
    script = tmp_path / "script.py"
    script.write_text(
        dedent(
            """
            import sys
            sys.modules["torch"] = None
            from pathlib import Path
            import numpy as np, onnx
            from onnx import TensorProto, helper, numpy_helper
            from stages import compare, context, import_onnx
            from enginesmith.converters.backends import get_backend
            from enginesmith.converters.stages.compare import Compare, CompareOptions
            from enginesmith.converters.stages.compile import Compile, CompileOptions
            from enginesmith.converters.stages.measure import Measure, MeasureOptions

            folder = Path(sys.argv[1])
            weights = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 4)).astype("f"), "w")
            value = helper.make_tensor_value_info
            graph = helper.make_graph(
                [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])], "test",
                [value("x", TensorProto.FLOAT, ["n", 8])], [value("y", TensorProto.FLOAT, ["n", 4])], [weights])
            onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "m.onnx")
            front = folder / "front"
            import_onnx(front, folder / "m.onnx", "2x8,5x8")
            target = get_backend("tvm").resolve_target("native")
            engine = folder / "engine"

            def compiled(name):
                Compile().run(
                    {"samples": front, "model": front},
                    CompileOptions(backend="tvm", target=target), context(folder / name))
                return Compare().run(
                    {"samples": front, "expected": front, "candidate": folder / name},
                    CompareOptions(backend="tvm", precision="fp32", expected="x"), context(folder / f"{name}-compared"))

            compared = compiled("engine").comparison
            assert compared.verdict == "pass", compared
            assert compared.found == "tvm"
            assert [sample.shapes["x"] for sample in compared.samples][:4] == [[2, 8], [2, 8], [5, 8], [2, 8]]
            facts = Measure().run(
                {"samples": front, "model": front, "engine": engine},
                MeasureOptions(backend="tvm", target=target, seconds=0.2, threads=1, machine=""), context(folder / "out"))
            latency = facts.latency
            assert 3 <= latency.runs <= 200
            assert 0 < latency.engine_ms < 1000 and 0 < latency.onnxruntime_ms < 1000
            assert (latency.shapes, [other.shapes for other in latency.others]) == ("x:2x8", ["x:5x8"])
            assert facts.note.count("ONNX Runtime") == 4
            from enginesmith.converters.backends.tvm.kernels.emit import Simd
            Simd.fma = lambda simd, a, b, c: a + b + c
            assert compiled("broken").comparison.verdict == "fail"
            print("measured", latency.runs)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        },
    )
    assert "measured" in done.stdout, done.stdout[-1000:] + done.stderr[-3000:]
