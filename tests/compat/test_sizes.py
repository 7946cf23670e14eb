"""Sizes that are written into a graph: what follows from them is known, and nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from enginesmith.compat.sizes import restate, write_sizes

FLOAT = TensorProto.FLOAT
tensor = helper.make_tensor_value_info


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any], **more: Any) -> ir.Model:
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "test", inputs, outputs, initializers, **more)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    return ir.from_proto(helper.make_model(made, opset_imports=opsets, ir_version=9))


def sizes_of(model: ir.Model) -> dict[str, list[Any]]:
    return {
        str(value.name): [size if isinstance(size, int) else size.value for size in value.shape or ()]
        for value in (*model.graph.inputs, *model.graph.outputs)
    }


def flattened(pieces: int) -> ir.Model:
    """`x` [b, c, h] reshaped to [b, c*h], as exporters write it, then repeated along its last axis."""
    return graph(
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Gather", ["s", "zero"], ["b"]),
            helper.make_node("Concat", ["b", "rest"], ["shape"], axis=0),
            helper.make_node("Reshape", ["x", "shape"], ["flat"]),
            helper.make_node("Mul", ["ones", "times"], ["repeats"]),
            helper.make_node("Tile", ["flat", "repeats"], ["y"]),
        ],
        [tensor("x", FLOAT, ["b", "c", "h"])],
        [tensor("y", FLOAT, ["b", "m"])],
        {"zero": [0], "rest": [-1], "ones": [1, 1], "times": [1, pieces]},
    )


@given(st.tuples(*[st.integers(1, 6)] * 3), st.integers(1, 3), st.data())
@settings(max_examples=30, deadline=None)
def test_the_graph_computes_the_same(shape: tuple[int, ...], pieces: int, data: st.DataObject) -> None:
    fixed = data.draw(st.tuples(*[st.booleans()] * 3))
    model = flattened(pieces)
    before = ir.to_proto(model)
    write_sizes(model, {"x": [size if wanted else None for size, wanted in zip(shape, fixed, strict=True)]})
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    named = zip(shape, "bch", fixed, strict=True)
    assert sizes_of(model)["x"] == [size if wanted else name for size, name, wanted in named]
    feed = {"x": np.arange(np.prod(shape), dtype=np.float32).reshape(shape)}
    (expected,), (found,) = (ReferenceEvaluator(each).run(None, feed) for each in (before, after))
    np.testing.assert_array_equal(found, expected)


def test_what_depends_on_sizes_alone_is_computed() -> None:
    model = flattened(2)
    write_sizes(model, {"x": [2, 3, 4]})
    assert [node.op_type for node in model.graph] == ["Reshape", "Tile"]
    assert sizes_of(model) == {"x": [2, 3, 4], "y": [2, 24]}
    assert set(model.graph.initializers) == {"shape", "repeats"}


def test_without_folding_every_node_stays() -> None:
    model = flattened(2)
    write_sizes(model, {"x": [2, 3, 4]}, folded=False)
    assert len(model.graph) == 6
    assert sizes_of(model)["x"] == [2, 3, 4]


def custom(shape: list[Any], output: list[Any]) -> ir.Model:
    nodes = [helper.make_node("Mystery", ["x"], ["y"], domain="mine")]
    return graph(nodes, [tensor("x", FLOAT, shape), tensor("z", FLOAT, ["n"])], [tensor("y", FLOAT, output)], {})


def test_a_name_is_replaced_where_nothing_can_be_inferred() -> None:
    model = custom(["n", "h"], ["n", 7, "other"])
    write_sizes(model, {"x": [5, 6]})
    assert sizes_of(model) == {"x": [5, 6], "z": ["n"], "y": [5, 7, "other"]}


def test_a_name_that_stands_for_two_sizes_is_not() -> None:
    model = custom(["n", "n"], ["n", 7])
    write_sizes(model, {"x": [5, 6]})
    assert sizes_of(model)["y"] == ["n", 7]


def test_what_was_declared_for_another_size_is_forgotten() -> None:
    model = custom([1, 6], [1, 7])
    write_sizes(model, {"x": [4, None]})
    assert sizes_of(model) == {"x": [4, 6], "z": ["n"], "y": []}


def declared(output: list[Any]) -> ir.Model:
    nodes = [helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])]
    return graph(nodes, [tensor("x", FLOAT, ["b", 3])], [tensor("y", FLOAT, output)], {})


def test_a_declared_shape_that_contradicts_the_graph_is_corrected() -> None:
    for wrong in ([], [3], [4, "b"]):
        model = declared(wrong)
        assert restate(model) == ["y"]
        assert sizes_of(model)["y"] == [3, "b"]


def test_one_that_does_not_stays() -> None:
    for right in ([3, "rows"], [3, 8]):
        model = declared(right)
        assert restate(model) == []
        assert sizes_of(model)["y"] == right
