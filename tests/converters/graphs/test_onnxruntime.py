import numpy as np
import pytest
from backend_models import FLOAT, constant, convnet, node, save, value

from enginesmith.converters.graphs import onnxruntime as reference

pytest.importorskip("onnxruntime")


def quantized(path):
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    tensors = [constant("scale", 0.5, "float32"), constant("zero", 0, "int8")]
    return save(path, nodes, [value("x", FLOAT, [4])], [value("y", FLOAT, [4])], tensors)


def test_runs_a_model_with_weights_beside_it(tmp_path):
    x = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    plain = convnet(tmp_path / "plain.onnx")
    apart = convnet(tmp_path / "apart.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with reference.runner(plain, threads=1) as one, reference.runner(apart, optimize=False, name="raw") as other:
        assert other.name == "raw"
        np.testing.assert_allclose(one.infer({"x": x})["y"], other.infer({"x": x})["y"], rtol=1e-4, atol=1e-5)


def test_quantized_models_run_as_written(tmp_path, monkeypatch):
    asked = []
    original = reference.session

    def session(model, *, threads=None, optimize=True, shipped=False):
        asked.append(optimize)
        return original(model, threads=threads, optimize=optimize, shipped=shipped)

    monkeypatch.setattr(reference, "session", session)
    for model in (quantized(tmp_path / "q.onnx"), convnet(tmp_path / "c.onnx")):
        with reference.runner(model):
            pass
    assert asked == [False, True]


def test_threads_are_bounded(tmp_path):
    session = reference.session(convnet(tmp_path / "c.onnx"), threads=1)
    assert session.get_session_options().intra_op_num_threads == 1


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_padding_of_zeros_keeps_its_zeros_before_a_maximum(tmp_path, as_bytes):
    nodes = [
        node("Pad", ["x", "pads"], ["padded"]),
        node("MaxPool", ["padded"], ["y"], kernel_shape=[2, 2], strides=[1, 1]),
    ]
    shapes = [value("x", FLOAT, [1, 1, 2, 2])], [value("y", FLOAT, [1, 1, 2, 2])]
    path = save(tmp_path / "m.onnx", nodes, *shapes, [constant("pads", [0, 0, 0, 0, 0, 0, 1, 1])])
    session = reference.session(path.read_bytes() if as_bytes else path)
    (found,) = session.run(None, {"x": np.full((1, 1, 2, 2), -3, np.float32)})
    np.testing.assert_array_equal(found, [[[[-3, 0], [0, 0]]]])
