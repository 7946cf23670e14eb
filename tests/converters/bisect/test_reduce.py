"""The reducer on graphs with planted failures."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bisect_graphs import BAD, BOOL, FLOAT, INT64, chain, constant, model_of, ops_of, reduce, value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

node = helper.make_node


def has(*ops):
    """Fails with at least one of each of these operators, wherever they are."""

    def failing(model):
        found = {n.op_type for graph in graphs(model.graph) for n in graph.node}
        return set(ops) <= found

    return failing


def graphs(graph):
    yield graph
    for n in graph.node:
        for attribute in n.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def test_one_node_of_three_hundred(tmp_path):
    left, tests = reduce(chain(300, bad=[150]), has(BAD), tmp_path)
    assert [n.name for n in left.graph.node] == ["n150"]
    assert tests <= 40


def test_two_nodes_that_fail_only_together(tmp_path):
    model = chain(60, bad=[11])
    model.graph.node[47].op_type = "Softplus"
    left, _ = reduce(model, has(BAD, "Softplus"), tmp_path)
    assert sorted(n.name for n in left.graph.node) == ["n11", "n47"]


def test_a_failure_that_needs_one_behind_the_other_keeps_nothing_between(tmp_path):
    """The nodes between are of one shape: they are passed by."""

    def connected(model):
        makers = {n.output[0]: n for n in model.graph.node}
        for n in model.graph.node:
            source = n.input[0]
            while n.op_type == "Softplus" and source in makers:
                if makers[source].op_type == BAD:
                    return True
                source = makers[source].input[0]
        return False

    model = chain(40, bad=[11])
    model.graph.node[30].op_type = "Softplus"
    left, _ = reduce(model, connected, tmp_path)
    assert ops_of(left) == [BAD, "Softplus"]
    assert left.graph.node[1].input[0] == left.graph.node[0].output[0]


def test_left_out_optional_inputs_stay_left_out(tmp_path):
    nodes = [
        node("Relu", ["x"], ["a"], name="before"),
        node("Resize", ["a", "", "scales"], ["b"], name="resize"),
        node("Clip", ["b", "", "high"], ["c"], name="clip"),
        node("Relu", ["c"], ["y"], name="after"),
    ]
    scales, high = constant("scales", np.array([1, 1, 2, 2], np.float32)), constant("high", np.float32(3))
    model = model_of(nodes, [value("x")], [value("y", (1, 3, 16, 16))], [scales, high])
    left, _ = reduce(model, has("Resize"), tmp_path)
    (resize,) = left.graph.node
    assert list(resize.input) == ["a", "", "scales"]
    left, _ = reduce(model, has("Clip"), tmp_path)
    assert list(left.graph.node[0].input) == ["b"]


def body(nodes, outputs, inputs=(), initializers=()):
    return helper.make_graph(nodes, "body", inputs, outputs, initializers)


def if_model(condition="Less"):
    """An If whose second branch holds BAD behind another node, on a tensor from outside."""
    then = body([node("Abs", ["a"], ["t"], name="abs")], [value("t")])
    otherwise = body(
        [
            node("Add", ["a", "weight"], ["s"], name="add"),
            node(BAD, ["s"], ["e0"], name="inner bad"),
            node("Relu", ["e0"], ["e"], name="relu"),
        ],
        [value("e")],
    )
    nodes = [
        node("Relu", ["x"], ["a"], name="outer"),
        node("ReduceSum", ["a"], ["sum"], name="sum", keepdims=0),
        node(condition, ["sum", "one"], ["flag"], name="less"),
        node("If", ["flag"], ["y"], name="the if", then_branch=then, else_branch=otherwise),
    ]
    weight = constant("weight", np.ones((1, 3, 8, 8), np.float32))
    return model_of(nodes, [value("x")], [value("y")], [constant("one", np.float32(1)), weight])


def test_a_node_in_a_branch_comes_out_alone(tmp_path):
    left, _ = reduce(if_model(), has(BAD), tmp_path)
    assert [n.name for n in left.graph.node] == ["inner bad"]
    assert "the if" in left.graph.name


def test_a_branch_that_fails_only_as_such_is_emptied(tmp_path):
    left, _ = reduce(if_model(), has("If", BAD), tmp_path)
    assert ops_of(left) == ["If"]
    inner = {a.name: [n.op_type for n in a.g.node] for a in left.graph.node[0].attribute}
    assert inner["then_branch"] in (["Identity"], ["Abs"])
    assert inner["else_branch"] == [BAD] or inner["else_branch"] == [BAD, "Identity"]


def loop_model():
    """A Loop that carries a tensor, its body with BAD between two others."""
    inner = body(
        [
            node("Relu", ["carried"], ["r"], name="relu"),
            node(BAD, ["r"], ["b"], name="inner bad"),
            node("Add", ["b", "a"], ["next"], name="add"),
            node("Identity", ["go"], ["again"], name="again"),
        ],
        [value("again", (), BOOL), value("next")],
        [value("i", (), INT64), value("go", (), BOOL), value("carried")],
    )
    nodes = [
        node("Abs", ["x"], ["a"], name="abs"),
        node("Loop", ["count", "", "a"], ["last"], name="the loop", body=inner),
        node("Relu", ["last"], ["y"], name="after"),
    ]
    return model_of(nodes, [value("x")], [value("y")], [constant("count", np.int64(4))])


def test_a_node_in_a_loop_comes_out_alone(tmp_path):
    left, _ = reduce(loop_model(), has(BAD), tmp_path)
    assert [n.name for n in left.graph.node] == ["inner bad"]


def test_a_loop_that_is_needed_keeps_its_signature(tmp_path):
    left, _ = reduce(loop_model(), has("Loop", BAD), tmp_path)
    (loop,) = left.graph.node
    assert (loop.name, loop.op_type) == ("the loop", "Loop")
    assert BAD in [n.op_type for n in loop.attribute[0].g.node]
    assert "Relu" not in [n.op_type for n in loop.attribute[0].g.node]


def test_a_scan_in_a_loop(tmp_path):
    scanned = body(
        [node("Add", ["state", "row"], ["s"], name="sum"), node(BAD, ["s"], ["out"], name="deep")],
        [value("s", (8,)), value("out", (8,))],
        [value("state", (8,)), value("row", (8,))],
    )
    inner = body(
        [
            node("Scan", ["zero", "carried"], ["state_out", "rows"], name="scan", body=scanned, num_scan_inputs=1),
            node("Identity", ["go"], ["again"]),
        ],
        [value("again", (), BOOL), value("rows", (4, 8))],
        [value("i", (), INT64), value("go", (), BOOL), value("carried", (4, 8))],
    )
    nodes = [node("Loop", ["count", "", "x"], ["y"], name="loop", body=inner)]
    initializers = [constant("count", np.int64(2)), constant("zero", np.zeros(8, np.float32))]
    model = model_of(nodes, [value("x", (4, 8))], [value("y", (4, 8))], initializers)
    left, _ = reduce(model, has(BAD), tmp_path)
    assert [n.name for n in left.graph.node] == ["deep"]


def test_functions_are_opened(tmp_path):
    opset = [helper.make_opsetid("", 18)]
    function = helper.make_function(
        "own", "Block", ["p"], ["q"], [node("Relu", ["p"], ["m"]), node(BAD, ["m"], ["q"])], opset
    )
    nodes = [node("Abs", ["x"], ["a"]), node("Block", ["a"], ["y"], name="call", domain="own")]
    model = model_of(nodes, [value("x")], [value("y")], functions=[function])
    model.opset_import.append(helper.make_opsetid("own", 1))
    left, _ = reduce(model, lambda m: BAD in ops_of(m) or any(ops_in(f) for f in m.functions), tmp_path)
    assert ops_of(left) == [BAD]
    assert not left.functions


def ops_in(function):
    return [n for n in function.node if n.op_type == BAD]


def conv_model():
    weight = constant("w", np.random.default_rng(0).random((16, 3, 5, 5), np.float32))
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Conv", ["a", "w", "bias"], ["c"], name="conv", pads=[2, 2, 2, 2], kernel_shape=[5, 5], strides=[1, 1]),
        node("Relu", ["c"], ["y"]),
    ]
    bias = constant("bias", np.ones(16, np.float32))
    return model_of(nodes, [value("x", (1, 3, 32, 32))], [value("y", (1, 16, 32, 32))], [weight, bias])


def test_weights_sizes_attributes_and_optional_inputs_go(tmp_path):
    left, _ = reduce(conv_model(), has("Conv"), tmp_path)
    (conv,) = left.graph.node
    assert len(conv.input) == 2
    assert not conv.attribute or {a.name for a in conv.attribute} <= {"pads", "kernel_shape"}
    assert left.ByteSize() < 600
    assert not left.graph.initializer
    assert all(d.dim_value <= 2 for v in left.graph.input for d in v.type.tensor_type.shape.dim)


def test_a_failure_of_a_certain_size_keeps_that_size_only(tmp_path):
    def failing(model):
        dims = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
        conv = [n for n in model.graph.node if n.op_type == "Conv"]
        return bool(conv) and dims.get(conv[0].input[0], [0, 0, 0])[2] == 32

    left, _ = reduce(conv_model(), failing, tmp_path)
    dims = [d.dim_value for v in left.graph.input if v.name == "a" for d in v.type.tensor_type.shape.dim]
    assert dims[2] == 32
    assert dims[1] < 3


def test_weights_that_count_are_kept_or_filled(tmp_path):
    """One failure needs a constant of any content, the other this very content."""

    def constant_weight(model):
        return any(t.name == "w" for t in model.graph.initializer) and "Conv" in ops_of(model)

    left, _ = reduce(conv_model(), constant_weight, tmp_path)
    (weight,) = left.graph.initializer
    assert len(set(onnx.numpy_helper.to_array(weight).ravel())) == 1

    def own_weight(model):
        arrays = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "w"]
        return bool(arrays) and len(set(arrays[0].ravel())) > 100 and "Conv" in ops_of(model)

    left, _ = reduce(conv_model(), own_weight, tmp_path)
    assert len(set(onnx.numpy_helper.to_array(left.graph.initializer[0]).ravel())) > 100


def shape_model():
    """A Reshape whose target is computed from the input's shape, by nodes that need not stay."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "axes"], ["first"]),
        node("Concat", ["first", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["flat"], name="reshape"),
        node("Relu", ["flat"], ["y"]),
    ]
    initializers = [constant("zero", np.int64(0)), constant("axes", np.array([0])), constant("rest", np.array([-1]))]
    return model_of(nodes, [value("x")], [value("y", (1, 192))], initializers)


def test_computed_sizes_become_constants(tmp_path):
    left, _ = reduce(shape_model(), has("Reshape"), tmp_path)
    assert ops_of(left) == ["Reshape"]
    assert [t.name for t in left.graph.initializer] == ["target"]


def test_sizes_that_have_to_be_computed_stay_computed(tmp_path):
    def dynamic(model):
        constants = {t.name for t in model.graph.initializer}
        makers = {o for n in model.graph.node for o in n.output}
        return any(n.op_type == "Reshape" and [*n.input, ""][1] in makers - constants for n in model.graph.node)

    left, _ = reduce(shape_model(), dynamic, tmp_path)
    assert "Reshape" in ops_of(left)
    assert len(left.graph.node) == 2
    assert "Relu" not in ops_of(left)


def test_data_dependent_sizes_are_taken_from_a_run(tmp_path):
    """Nothing but a run tells the shapes behind NonZero: without them the nodes behind it could not be cut off."""
    nodes = [
        node("NonZero", ["x"], ["places"]),
        node("Transpose", ["places"], ["rows"], perm=[1, 0]),
        node("Cast", ["rows"], ["floats"], to=FLOAT),
        node(BAD, ["floats"], ["y"], name="bad"),
    ]
    left, _ = reduce(model_of(nodes, [value("x", (4, 4))], [value("y", ("n", 2))]), has(BAD), tmp_path)
    assert [n.name for n in left.graph.node] == ["bad"]


def test_remarks_do_not_leave_the_house(tmp_path):
    model = chain(3, bad=[1])
    model.doc_string = "/home/me/secret.py"
    model.graph.node[1].doc_string = "/home/me/secret.py:7"
    model.graph.node[1].metadata_props.add(key="stack_trace", value="/home/me/secret.py:7")
    left, _ = reduce(model, has(BAD), tmp_path)
    assert b"secret" not in left.SerializeToString()


@st.composite
def planted_graphs(draw):
    """A random DAG of unary and binary nodes, and which of them are bad."""
    size = draw(st.integers(1, 25))
    tensors, nodes = ["x", "z"], []
    for number in range(size):
        op = draw(st.sampled_from(["Relu", "Abs", "Add", "Mul", "Split"]))
        sources = [draw(st.sampled_from(tensors)) for _ in range(2 if op in ("Add", "Mul") else 1)]
        outputs = [f"t{number}", f"u{number}"] if op == "Split" else [f"t{number}"]
        if op == "Split":
            nodes.append(
                node("Split", sources, [f"h{number}", f"k{number}"], name=f"split{number}", num_outputs=2, axis=1)
            )
            nodes.append(node("Concat", [f"k{number}", f"h{number}"], [f"t{number}"], name=f"n{number}", axis=1))
            outputs = [f"t{number}"]
        else:
            nodes.append(node(op, sources, outputs, name=f"n{number}"))
        tensors += outputs
    bad = draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=4))
    outputs = draw(st.sets(st.sampled_from(tensors[2:]), min_size=1, max_size=3))
    shape = (2, 4)
    model = model_of(nodes, [value("x", shape), value("z", shape)], [value(name, shape) for name in sorted(outputs)])
    return model, {f"n{number}" for number in bad}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planted_graphs())
def test_any_graph_is_reduced_to_its_bad_nodes(tmp_path_factory, planted):
    model, bad = planted
    left, _ = reduce(
        model, lambda m: bad <= {n.name for n in m.graph.node}, tmp_path_factory.mktemp("reduce", numbered=True)
    )
    assert {n.name for n in left.graph.node} == bad


@pytest.mark.parametrize("order", [[3, 1, 2, 0], [2, 0, 3, 1]])
def test_unsorted_nodes(tmp_path, order):
    from enginesmith.converters.bisect import files

    model = chain(4, bad=[2])
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[place] for place in order)
    onnx.save(model, tmp_path / "unsorted.onnx")
    read = files.read(tmp_path / "unsorted.onnx")
    assert [n.name for n in read.graph] == ["n0", "n1", "n2", "n3"]
