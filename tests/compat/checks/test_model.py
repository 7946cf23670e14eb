"""Rules about models as a whole, on broken models made for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from enginesmith.compat.checks import MODEL_RULES, whole
from enginesmith.compat.target import EVERY, Target
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import Isolated

TENSORRT = Target("tensorrt", "10.3")
RTX = Target("tensorrt-rtx", "1.7")


def said(model: onnx.ModelProto | ir.Model, target: Target = TENSORRT) -> dict[str, str]:
    """The first message of every rule that finds something."""
    found = whole(model if isinstance(model, ir.Model) else ir.from_proto(model), target)
    messages: dict[str, str] = {}
    for finding in found:
        messages.setdefault(finding.rule, finding.message)
    return messages


def text(body: str, opset: int = 18, more: str = "") -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{more}]> g {body}')


CLEAN = "(float[2] x) => (float[2] y) { y = Neg (x) }"


@pytest.mark.parametrize("backend", EVERY)
def test_a_sound_model_is_not_complained_about(backend: str) -> None:
    assert said(text(CLEAN, opset=17), Target(backend, "")) == {}


@pytest.mark.parametrize("kind", ["int16", "uint16", "uint32", "uint64", "string", "complex64", "float8e5m2"])
def test_types_that_no_input_may_have(kind: str, asked: Isolated, tmp_path: Path) -> None:
    model = text(f"({kind}[2] x) => ({kind}[2] y) {{ y = Identity (x) }}", opset=19)
    assert "the input x is" in said(model, RTX)["interface-type"]
    onnx.save(model, tmp_path / "model.onnx")
    assert asked.call(TRIAL, "tensorrt-rtx", str(tmp_path / "model.onnx"), "sm_89", timeout=60) is not None


def test_types_that_an_input_may_have() -> None:
    for kind in ("float", "float16", "bfloat16", "double", "int8", "uint8", "int32", "int64", "bool"):
        assert "interface-type" not in said(text(f"({kind}[2] x) => ({kind}[2] y) {{ y = Identity (x) }}"), RTX)


def test_a_sequence_is_no_input() -> None:
    model = text("(seq(float[2]) x) => (int64 y) { y = SequenceLength (x) }")
    assert said(model)["interface-type"] == "the input x is no tensor"


def test_float8_comes_in_to_be_dequantized_only() -> None:
    assert "quantized-interface" in said(text("(float8e4m3fn[2] x) => (float[2] y) { y = Cast <to = 1> (x) }", 19))
    body = "(float8e4m3fn[2] x) => (float[2] y) <float s = {0.5}> { y = DequantizeLinear (x, s) }"
    assert "quantized-interface" not in said(text(body, 19))


def test_opsets_too_new_and_too_old() -> None:
    assert said(text(CLEAN, 21), Target("tensorrt", "8.6")) == {
        "newer-opset": "the opset is 21, and tensorrt 8.6 reads up to 17"
    }
    assert said(text(CLEAN, 6)) == {"old-opset": "the opset is 6"}
    model = text(CLEAN)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("local", 1))
    assert set(said(model)) == {"no-opset", "unused-domain"}


def test_a_domain_that_nothing_uses() -> None:
    assert said(text(CLEAN, more=', "com.microsoft" : 1')) == {
        "unused-domain": "the domain com.microsoft is imported and not used"
    }
    used = "(float[2, 2] x) => (float[2, 2] y) { y = com.microsoft.FusedMatMul (x, x) }"
    assert said(text(used, more=', "com.microsoft" : 1')) == {}


def external(folder: Path, name: str, written: int) -> ir.Model:
    """A model whose 16 bytes of weights are said to lie in the file `name`, of which `written` bytes are there."""
    model = text("(float[4] x) => (float[4] y) { y = Add (x, w) }")
    weights = numpy_helper.from_array(np.ones(4, np.float32), "w")
    del model.graph.initializer[:]
    tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=weights.dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", name), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    if written >= 0:
        (folder / "w.bin").write_bytes(b"\0" * written)
    return ir.load(folder / "model.onnx")


def test_external_data_is_there_and_whole(tmp_path: Path) -> None:
    assert said(external(tmp_path, "w.bin", 16)) == {}
    assert said(external(tmp_path, "w.bin", 15)) == {"external-data": "w.bin ends before the weights w"}


def test_external_data_is_missing(tmp_path: Path) -> None:
    assert said(external(tmp_path, "w.bin", -1)) == {"external-data": "the file with the weights is missing: w.bin"}


@pytest.mark.parametrize("name", ["../w.bin", "/etc/hostname", "a/../../w.bin"])
def test_external_data_lies_below_the_model(name: str, tmp_path: Path) -> None:
    assert "outside of the model's folder" in said(external(tmp_path, name, 16))["external-data"]


def wired(*nodes: tuple[str, str]) -> ir.Model:
    """A graph of Neg nodes, each given as (input, output)."""
    made = [helper.make_node("Neg", [a], [b], name=f"make_{b}") for a, b in nodes]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph(made, "g", [x], [y])
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def test_nodes_out_of_order_are_told_from_a_circle() -> None:
    assert said(wired(("x", "a"), ("a", "y"))) == {}
    assert said(wired(("a", "y"), ("x", "a"))) == {"unsorted": "nodes stand before what they read: make_y"}
    assert said(wired(("b", "a"), ("a", "b"), ("x", "y"))) == {"unsorted": "the nodes form a circle: make_a"}
    assert said(wired(("y", "y"))) == {"unsorted": "the nodes form a circle: make_y"}


def test_many_nodes_out_of_order_are_counted() -> None:
    names = [f"v{index}" for index in range(100)]
    model = wired(*reversed([("x", "v0"), *zip(names, [*names[1:], "y"], strict=True)]))
    assert said(model)["unsorted"].endswith("and 95 more")


def test_each_model_rule_is_shown_by_a_test_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert not [id for id in MODEL_RULES if f'"{id}"' not in source]
