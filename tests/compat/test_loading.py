"""Files that no tool should be given: each becomes a finding, and none an exception."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from enginesmith.compat.findings import Finding
from enginesmith.compat.loading import load


def chain(nodes: int) -> onnx.ModelProto:
    steps = [helper.make_node("Neg", [f"t{i}"], [f"t{i + 1}"], name=f"n{i}") for i in range(nodes)]
    return model(steps, "t0", f"t{nodes}")


def model(nodes: list[onnx.NodeProto], first: str, last: str) -> onnx.ModelProto:
    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])

    graph = helper.make_graph(nodes, "g", [value(first)], [value(last)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def said(path: Path) -> list[Finding]:
    loaded, findings = load(path)
    assert (loaded is None) == any(finding.severity == "error" for finding in findings)
    return findings


def only(path: Path) -> str:
    (finding,) = said(path)
    assert finding.remedy
    return finding.message


def test_a_good_model_has_no_findings(tmp_path: Path) -> None:
    onnx.save(chain(3), tmp_path / "m.onnx")
    assert said(tmp_path / "m.onnx") == []


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"hello, world\n" * 9, b"\x08\x0a", b"PK\x03\x04junk"])
def test_no_onnx_at_all(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert "no ONNX file" in only(tmp_path / "m.onnx")


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    whole = chain(30).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(whole[: len(whole) // 2])
    assert "cut off" in only(tmp_path / "m.onnx")


def test_nodes_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    mixed = chain(4)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(mixed.graph.node)]
    del mixed.graph.node[:]
    mixed.graph.node.extend(nodes)
    onnx.save(mixed, tmp_path / "m.onnx")
    loaded, findings = load(tmp_path / "m.onnx")
    assert [finding.severity for finding in findings] == ["warning"]
    assert loaded is not None
    assert [node.name for node in loaded.graph] == ["n0", "n1", "n2", "n3"]


def test_a_cycle_is_named_by_a_node_in_it(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["a"], name="before"),
        helper.make_node("Add", ["a", "c"], ["b"], name="in"),
        helper.make_node("Neg", ["b"], ["c"], name="it"),
        helper.make_node("Neg", ["c"], ["y"], name="after"),
    ]
    onnx.save(model(nodes, "x", "y"), tmp_path / "m.onnx")
    (finding,) = said(tmp_path / "m.onnx")
    assert "cycle" in finding.message
    assert finding.node in ("in", "it")


LOOP = """
<ir_version: 9, opset_import: ["" : 18]>
main (float[2] x) => (float[2] y) <int64 n = {{3}}, bool t = {{1}}> {{
  y = Loop (n, t, x) <body = b (int64 i, bool c, float[2] v) => (bool d, float[2] w) {{ d = Identity (c) {inner} }}>
}}
"""


def test_a_node_whose_graph_reads_what_the_node_makes(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(LOOP.format(inner="w = Add (v, y)")), tmp_path / "m.onnx")
    assert "cycle" in only(tmp_path / "m.onnx")


def test_a_graph_within_may_call_its_own_values_as_the_node_does(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(LOOP.format(inner="y = Neg (v) w = Add (v, y)")), tmp_path / "m.onnx")
    loaded, findings = load(tmp_path / "m.onnx")
    assert loaded is not None
    assert not findings


@pytest.mark.parametrize("values", [{}, {"value_float": 1.0, "value_int": 1}])
def test_a_constant_has_one_value(tmp_path: Path, values: dict[str, Any]) -> None:
    nodes = [helper.make_node("Constant", [], ["c"], **values), helper.make_node("Add", ["x", "c"], ["y"])]
    onnx.save(model(nodes, "x", "y"), tmp_path / "m.onnx")
    assert f"a constant has {len(values)} values" in only(tmp_path / "m.onnx")


def test_a_node_that_reads_itself(tmp_path: Path) -> None:
    onnx.save(model([helper.make_node("Add", ["x", "y"], ["y"], name="n")], "x", "y"), tmp_path / "m.onnx")
    assert "cycle" in only(tmp_path / "m.onnx")


def test_two_writers_of_one_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])]
    onnx.save(model(nodes, "x", "y"), tmp_path / "m.onnx")
    assert only(tmp_path / "m.onnx") == "two nodes write y"


def with_weights(folder: Path) -> Path:
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], "x", "y")
    made.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    onnx.save(made, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    return folder / "m.onnx"


def test_weights_beside_the_model(tmp_path: Path) -> None:
    loaded, findings = load(with_weights(tmp_path))
    assert findings == []
    assert loaded is not None
    tensor = loaded.graph.initializers["w"].const_value
    assert tensor is not None
    assert tensor.numpy().tolist() == [1, 1]


def test_weights_that_are_missing(tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    (tmp_path / "w.bin").unlink()
    assert "w.bin" in only(path)


def test_weights_that_are_too_short(tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    (tmp_path / "w.bin").write_bytes(b"123")
    assert "truncated" in only(path)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin"])
def test_weights_outside_the_models_folder(location: str, tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    changed = onnx.load(str(path), load_external_data=False)
    entry = next(e for e in changed.graph.initializer[0].external_data if e.key == "location")
    entry.value = location
    path.write_bytes(changed.SerializeToString())
    assert "outside" in only(path)


def nested(depth: int) -> onnx.ModelProto:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y0"])], "g0", [], [helper.make_tensor_value_info("y0", 1, [2])]
    )
    for level in range(1, depth):
        node = helper.make_node("If", ["c"], [f"y{level}"], then_branch=inner, else_branch=inner)
        output = [helper.make_tensor_value_info(f"y{level}", 1, [2])]
        inner = helper.make_graph([node], f"g{level}", [], output)
        if level > 3:  # one branch only from here on, since two would double the file with each level
            del inner.node[0].attribute[1]
    inner.input.append(helper.make_tensor_value_info("x", 1, [2]))
    inner.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return helper.make_model(inner, opset_imports=[helper.make_opsetid("", 18)])


def test_subgraphs_nested_too_deep(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(nested(28).SerializeToString())
    assert said(tmp_path / "m.onnx")[0].severity == "error"


def test_a_hundred_thousand_nodes_load_in_seconds(tmp_path: Path) -> None:
    onnx.save(chain(100_000), tmp_path / "m.onnx")
    started = time.process_time()
    loaded, findings = load(tmp_path / "m.onnx")
    assert loaded is not None
    assert findings == []
    assert time.process_time() - started < 60


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    content = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y])).SerializeToString()
    path = tmp_path / "garbled.onnx"
    path.write_bytes(content.replace(b"Relu", b"\x80elu"))
    model, findings = load(path)
    assert model is None
    assert [finding.message for finding in findings] == [
        "the file is damaged: a name in a node of the graph is no text"
    ]
