"""Facts about ONNX files, hashes of files, and the tolerances."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from enginesmith.converters.core.errors import ConversionError, UserError, first_line
from enginesmith.converters.core.files import hash_file, is_installed
from enginesmith.converters.graphs.describe import all_nodes, describe, operator_name
from enginesmith.converters.graphs.tolerances import TOLERANCES

FLOAT = TensorProto.FLOAT
tensor = helper.make_tensor_value_info
node = helper.make_node


def nested() -> onnx.ModelProto:
    """An If within a Loop's body, beside a call of a function of the model's own."""
    inner = helper.make_graph([node("Neg", ["v"], ["n"])], "inner", [], [tensor("n", FLOAT, None)])
    other = helper.make_graph(
        [node("Abs", ["v"], ["a"]), node("Exp", ["a"], ["e"])], "other", [], [tensor("e", FLOAT, None)]
    )
    body = helper.make_graph(
        [node("Identity", ["c"], ["keep"]), node("If", ["c"], ["out"], then_branch=inner, else_branch=other)],
        "body",
        [tensor("i", TensorProto.INT64, []), tensor("c", TensorProto.BOOL, []), tensor("v", FLOAT, None)],
        [tensor("keep", TensorProto.BOOL, []), tensor("out", FLOAT, None)],
    )
    graph = helper.make_graph(
        [node("Loop", ["trips", "", "x"], ["looped"], body=body), node("Twice", ["looped"], ["y"], domain="my.own")],
        "test",
        [tensor("x", FLOAT, ["batch", None, 3, -1]), tensor("trips", TensorProto.INT64, [])],
        [tensor("y", TensorProto.FLOAT16, [])],
        [numpy_helper.from_array(np.int64(3), "trips")],
    )
    twice = helper.make_function(
        "my.own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("my.own", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=[twice], ir_version=9)


def test_describe(tmp_path: Path) -> None:
    onnx.save(nested(), tmp_path / "m.onnx")
    facts = describe(tmp_path / "m.onnx")
    assert facts.ops == dict.fromkeys(["Loop", "my.own.Twice", "Identity", "If", "Neg", "Abs", "Exp", "Add"], 1)
    assert facts.nodes == 8
    (x,) = facts.inputs
    assert (x.name, x.dtype, x.shape) == ("x", "float32", ["batch", "?", 3, "?"])
    (y,) = facts.outputs
    assert (y.name, y.dtype, y.shape) == ("y", "float16", [])


def test_weights_are_not_read(tmp_path: Path) -> None:
    model = nested()
    weights = numpy_helper.from_array(np.zeros(1000, np.float32), "w")
    model.graph.initializer.append(weights)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    assert describe(tmp_path / "m.onnx").nodes == 8


def test_operator_names() -> None:
    assert operator_name(node("Add", [], [])) == operator_name(node("Add", [], [], domain="ai.onnx")) == "Add"
    assert operator_name(node("Add", [], [], domain="com.microsoft")) == "com.microsoft.Add"
    assert len([*all_nodes(nested())]) == 8


def test_hash_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert hash_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_what_is_installed(tmp_path: Path) -> None:
    assert is_installed(Path(sysconfig.get_path("purelib")) / "torch" / "nn.py")
    assert is_installed(Path(sysconfig.get_path("stdlib")) / "json.py")
    assert is_installed(Path("/usr/local/lib/python3.12/dist-packages/torch/nn.py")), "a container's, seen from a venv"
    assert not is_installed(tmp_path / "model.py")


def test_errors_are_one_line() -> None:
    assert str(UserError("two\n  lines ")) == "two lines"
    assert first_line(ValueError("\n first\nsecond")) == "first"
    assert first_line(ValueError()) == "ValueError"
    error = ConversionError("cause", "remedy")
    assert (str(error), error.cause, error.remedy, error.findings) == ("cause", "cause", "remedy", [])


def test_fp32_is_tight_enough_to_tell_fp16() -> None:
    """Half precision has 11 bits, and must not pass for single."""
    tolerance = TOLERANCES["fp32"]
    assert tolerance.scale < 2**-11
    assert tolerance.top1 == 1
    assert 0.5 < tolerance.iou < 1
