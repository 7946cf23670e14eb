"""Kernels check the tensors that come into a module, and no others."""

import numpy as np
import onnx
import pytest

GRAPH = """<ir_version: 10, opset_import: ["" : 18]> main (float[1, 16, 8, 8] x) => (float[1, 16, 8, 8] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = Conv <pads = [1, 1, 1, 1]> (a, w)
    c = Conv (b, v)
    y = Sigmoid (c)
}"""


@pytest.fixture(scope="module")
def told(with_tvm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checks")
    model = onnx.parser.parse_model(GRAPH)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (16, 16, 3, 3)), ("v", (16, 16, 1, 1))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    onnx.save(model, folder / "model.onnx")
    return with_tvm.call("compiled:checks", str(folder), timeout=120)


def test_kernels_that_are_fed_from_outside_hold_checks_alone(told):
    assert told["inner"]
    assert told["outer"]
    assert set(told["checking"]) & {*told["inner"], *told["outer"]} == set(told["outer"])


def test_a_wrong_shape_is_refused(told):
    assert "shape" in told["answer"]
