"""Clips with one bound, in any graph: infinity stays, and what has no inputs is passed over."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from enginesmith.converters.graphs.open_clips import open_clips

TEXT = """
<ir_version: 10, opset_import: ["" : 18]>
main (float[3] x, int64[3] n) => (float[3] low, float[3] high, float[3] both, int64[3] whole)
<float a = {-1}, float b = {1}, int64 z = {0}> {
  none = SequenceEmpty ()
  low = Clip (x, a)
  high = Clip (x, "", b)
  both = Clip (x, a, b)
  whole = Clip (n, z)
}
"""


def test_an_infinite_element_stays() -> None:
    model = ir.from_proto(onnx.parser.parse_model(TEXT))
    assert open_clips(model) == 2
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    feed = {"x": np.array([-np.inf, 0, np.inf], np.float32), "n": np.array([-1, 0, 1])}
    low, high, both, whole = ReferenceEvaluator(proto).run(None, feed)
    assert low.tolist() == [-1, 0, np.inf]
    assert high.tolist() == [-np.inf, 0, 1]
    assert both.tolist() == [-1, 0, 1]
    assert whole.tolist() == [0, 0, 1]
