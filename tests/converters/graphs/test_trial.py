"""A graph is tried in a process of its own: what brings ONNX Runtime down is an answer."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import pytest
from stages import context

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Sample, SampleSet
from enginesmith.converters.graphs import trial
from enginesmith.converters.graphs.trial import Expected, try_graph

SUM = '<ir_version: 8, opset_import: ["" : 18]> g (float[n] x) => (float[n] y) { y = Add (x, x) }'
RESHAPED = (
    '<ir_version: 8, opset_import: ["" : 18]> g (float[n] x) => (float[m] y) '
    "<int64[1] three = {3}> { r = Reshape (x, three) y = Add (r, r) }"
)


CRASHING = "import os, signal\n\ndef run(*arguments):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"


@pytest.fixture
def expected() -> Expected:
    feeds = [OrderedDict(x=np.arange(size, dtype=np.float32)) for size in (3, 5)]
    samples = SampleSet(
        task="tensor", specs=(InputSpec.static("x", (3,)),), samples=[Sample(name="three"), Sample(name="five")]
    )
    return Expected(samples, feeds, [{"y": 2 * feed["x"]} for feed in feeds])


def written(folder: Path, text: str) -> Path:
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def test_outputs_are_those_of_each_sample(tmp_path: Path, expected: Expected) -> None:
    tried = try_graph(written(tmp_path, SUM), expected, context(tmp_path / "out"))
    assert (tried.fails, tried.differs) == ("", "")
    for found, right in zip(tried.outputs, expected.results, strict=True):
        np.testing.assert_array_equal(found["y"], right["y"])


def test_the_sample_that_fails_is_named(tmp_path: Path, expected: Expected) -> None:
    tried = try_graph(written(tmp_path, RESHAPED), expected, context(tmp_path / "out"))
    assert "can't run the graph on the sample 'five'" in tried.fails
    assert "fixed a size" in tried.remedy


def test_a_crash_is_a_failed_trial(tmp_path: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashing_trial.py").write_text(CRASHING)
    monkeypatch.setattr(trial, "RUN", "crashing_trial:run")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tried = try_graph(written(tmp_path, SUM), expected, context(tmp_path / "out"))
    assert tried.fails == "ONNX Runtime can't run the graph: the tool crashed (SIGSEGV)"
