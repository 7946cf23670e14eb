"""What rounding does to a model is asked of moved inputs, or of moved weights where the inputs are integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

from enginesmith.converters.core.samples import Sample
from enginesmith.converters.graphs import nudged as module
from enginesmith.converters.graphs.nudged import nudged

VARIANCE = """<ir_version: 9, opset_import: ["" : 18]>
variance (int64[4] ids) => (float[4] y) <float[9, 20] table> {
  rows = Gather (table, ids)
  square = Mul (rows, rows)
  last = Constant <value_ints = [1]> ()
  mean = ReduceMean <keepdims = 0> (rows, last)
  squares = ReduceMean <keepdims = 0> (square, last)
  of_mean = Mul (mean, mean)
  y = Sub (squares, of_mean) }"""
"""Of numbers around 100 that differ by 0.01: what is left of squares of 10,000 is rounding for the most part."""


def _model(folder: Path) -> Path:
    model = onnx.parser.parse_model(VARIANCE)
    table = 100 + np.random.default_rng(0).normal(size=(9, 20)).astype(np.float32) / 100
    model.graph.initializer.append(numpy_helper.from_array(table.astype(np.float32), "table"))
    path = folder / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    return path


def test_weights_are_moved_where_inputs_are_integers_for_probes_too(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    path, feed = _model(tmp_path), {"ids": np.arange(4)}
    run = module.onnxruntime.session(path, optimize=False)
    exact = run.run(None, feed)[0]
    pairs = [(Sample(name="a"), feed), (Sample(name="b", probe="far"), feed)]
    first, none, second = nudged(path, lambda _: {}, [pairs[0], None, pairs[1]], tmp_path / "scratch")
    moves = np.abs(first["y"] - exact)
    assert np.array_equal(first["y"], second["y"])
    assert none == {}
    assert moves.max() > 1e-4  # units of 10,000 in float32 are 1e-3
    assert not [*(tmp_path / "scratch").iterdir()]


def test_inputs_are_moved_where_they_are_floats_and_those_of_probes_not(tmp_path: Path) -> None:
    feed = {"x": np.ones(3, np.float32)}
    pairs = [(Sample(name="a"), feed), (Sample(name="b", probe="far"), feed)]
    first, second = nudged(tmp_path / "none.onnx", dict, pairs, tmp_path)
    assert (first["x"] != 1).all()
    assert second == {}
