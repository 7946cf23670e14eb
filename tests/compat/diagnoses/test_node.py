"""The node that a log names is found in the model, however a tool calls it."""

from __future__ import annotations

import onnx
import pytest

from enginesmith.compat.diagnoses.node import Looked, look

MODEL = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) <float s = {2.0}> {
    a = Relu (x)
    b = Mul (a, s)
    y = Relu (b)
}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    proto = onnx.parser.parse_model(MODEL)
    for node, name in zip(proto.graph.node, ("/first/Relu", "/scale/Mul", ""), strict=True):
        node.name = name
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    onnx.save(proto, path)
    return str(path)


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("/scale/Mul", ["/scale/Mul"]),
        ("/scale/Mul_output_0", ["/scale/Mul"]),
        ("b", ["/scale/Mul"]),
        ("node_of_y", ["y"]),
        ("/first/Relu + /scale/Mul", ["/first/Relu", "/scale/Mul"]),
        ("{ForeignNode[/first/Relu.../scale/Mul]}", ["/first/Relu", "/scale/Mul"]),
    ],
)
def test_names_of_tools(model, said, names):
    looked = Looked.model_validate(look(model, said, ""))
    assert looked.by_name
    assert [node.name for node in looked.nodes] == names


def test_what_is_known_of_it(model):
    (node,) = Looked.model_validate(look(model, "/scale/Mul", "")).nodes
    assert [(value.name, value.type, value.shape, value.source) for value in node.inputs] == [
        ("a", "float", "[1, 3, 8, 8]", "Relu"),
        ("s", "float", "[]", "constant"),
    ]
    assert node.outputs[0].shape == "[1, 3, 8, 8]"


def test_by_the_operator_where_no_name_agrees(model):
    looked = Looked.model_validate(look(model, "(Unnamed Layer* 4)", "Relu"))
    assert (looked.by_name, looked.count) == (False, 2)


def test_another_model(model):
    looked = Looked.model_validate(look(model, "/other/Conv", "Conv"))
    assert (looked.nodes, "is it the file of this log?" in looked.problem) == ([], True)


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"version https://git-lfs")
    assert Looked.model_validate(look(str(path), "a", "")).problem
