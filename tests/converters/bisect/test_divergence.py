"""Divergences planted in a named layer are found by name: between graphs, PyTorch and a graph, a graph and TVM."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from bisect_graphs import chain, constant, model_of, value
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from enginesmith.converters.bisect import between_graph_and_engine, between_graphs
from enginesmith.converters.bisect.between_torch_and_graph import choose, match, modules_of, record_calls, run_marked
from enginesmith.converters.bisect.divergence import MOST, Divergence, measure, pair_up
from enginesmith.converters.data.samples import make_samples
from enginesmith.converters.graphs.tolerances import Apart
from enginesmith.pipeline.job.shapes import parse_shapes

node = helper.make_node


def convolutions(spoilt: str = "", prefix: str = "") -> onnx.ModelProto:
    """conv0 -> relu0 -> ... conv3 -> relu3, and a branch from relu0 to the end. `spoilt` names a changed weight; `prefix`
    goes before every name but those of the inputs."""
    rng = np.random.default_rng(0)
    nodes, weights, tensor = [], [], "x"
    for number in range(4):
        array = rng.standard_normal((4, 4, 3, 3)).astype(np.float32) / 6
        name = f"w{number}"
        weights.append(constant(prefix + name, array * (1.01 if name == spoilt else 1)))
        conv, relu = f"{prefix}c{number}", f"{prefix}r{number}"
        nodes.append(node("Conv", [tensor, prefix + name], [conv], name=f"{prefix}conv{number}", pads=[1, 1, 1, 1]))
        nodes.append(node("Relu", [conv], [relu], name=f"{prefix}relu{number}"))
        tensor = relu
    nodes.append(node("Add", [f"{prefix}r0", tensor], [f"{prefix}y"], name=f"{prefix}add"))
    shape = (1, 4, 8, 8)
    return model_of(nodes, [value("x", shape)], [value(f"{prefix}y", shape)], weights)


@pytest.fixture
def folder(tmp_path):
    specs = parse_shapes("x:1x4x8x8")
    samples, feeds = make_samples(specs, "tensor", 2, 0)
    samples.save(tmp_path, feeds)
    return tmp_path


def between(folder, before, after) -> Divergence:
    onnx.save(before, folder / "before.onnx")
    onnx.save(after, folder / "after.onnx")
    answer = between_graphs.compare(
        str(folder / "before.onnx"), str(folder / "after.onnx"), str(folder), [0, 1], 2e-4, 1e-3
    )
    return Divergence.model_validate(answer)


@pytest.mark.parametrize("prefix", ["", "renamed_"])
def test_a_changed_weight_is_found_by_the_layer_that_takes_it(folder, prefix):
    found = between(folder, convolutions(), convolutions("w2", prefix))
    assert found.first is not None
    assert found.first.node == f"{prefix}conv2"
    assert [layer.node for layer in found.layers if layer.origin] == [f"{prefix}conv2"]
    assert [layer.node for layer in found.layers if not layer.differs] == [
        f"{prefix}{name}" for name in ("conv0", "relu0", "conv1", "relu1")
    ]
    assert not found.unmatched


def test_equal_graphs_agree(folder):
    found = between(folder, convolutions(), convolutions())
    assert found.first is None
    assert len(found.layers) == 9
    assert max(layer.excess for layer in found.layers) == 0


def test_a_tensor_without_a_counterpart_passes_the_blame_on(folder):
    """conv1 is split in two in the second graph: the wrong half has no counterpart, so relu1 is where it starts."""
    after = convolutions()
    conv = next(n for n in after.graph.node if n.name == "conv1")
    conv.output[0], conv.name = "half", "other name"
    place = list(after.graph.node).index(conv) + 1
    after.graph.node.insert(place, node("Mul", ["half", "factor"], ["c1b"], name="factor"))
    after.graph.node[place + 1].input[0] = "c1b"
    after.graph.initializer.append(constant("factor", np.float32(1.5)))
    found = between(folder, convolutions(), after)
    assert found.first is not None
    assert found.first.node == "relu1"
    assert "half" in found.unmatched or "c1b" in found.unmatched


def test_two_faults_in_parallel_are_both_origins(folder):
    after = convolutions("w2")
    add = after.graph.node[-1]
    add.input[0] = "side"
    after.graph.node.insert(8, node("Relu", ["shifted"], ["side"], name="side"))
    after.graph.node.insert(8, node("Add", ["r0", "one"], ["shifted"], name="shift"))
    after.graph.initializer.append(constant("one", np.float32(1)))
    before = convolutions()
    before.graph.node[-1].input[0] = "side"
    before.graph.node.insert(8, node("Relu", ["shifted"], ["side"], name="side"))
    before.graph.node.insert(8, node("Add", ["r0", "one"], ["shifted"], name="shift"))
    before.graph.initializer.append(constant("one", np.float32(2)))
    found = between(folder, before, after)
    assert {layer.node for layer in found.layers if layer.origin} == {"conv2", "shift"}


def test_pairs_by_structure_need_the_same_count():
    before, after = ir.from_proto(chain(4)), ir.from_proto(chain(4))
    for graph, prefix in ((before, "a"), (after, "b")):
        for n in graph.graph:
            n.name = f"{prefix}{n.name}"
            n.outputs[0].name = f"{prefix}{n.outputs[0].name}"
    assert pair_up(before, after) == {f"bt{i}": f"at{i}" for i in range(4)}


ARRAYS = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=8)


@given(ARRAYS)
def test_nothing_exceeds_its_own_copy(values):
    array = np.array(values, np.float32)
    assert Apart.of(array, array.copy()).excess(0, 0) == 0
    assert measure(array, array.copy(), 1e-4, 1e-3).excess == 0


@pytest.mark.parametrize(
    ("expected", "found", "excess"),
    [
        ([1.0, 10.0], [1.0, 10.0 + 0.02], 1.0),
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, np.nan], [1.0, 2.0], MOST),
        ([1.0, np.inf], [1.0, np.inf], 0.0),
        ([1.0, np.inf], [1.0, -np.inf], MOST),
        ([0.0, 0.0], [0.0, 1e-9], MOST),
    ],
)
def test_units_of_the_tolerance(expected, found, excess):
    figures = measure(np.array(expected, np.float64), np.array(found, np.float64), 1e-3, 1e-3)
    assert figures.excess == pytest.approx(excess, rel=1e-4)


def test_integers_and_shapes_have_no_tolerance():
    assert measure(np.array([1, 2]), np.array([1, 3]), 1.0, 1.0).excess == MOST
    assert measure(np.array([1, 2]), np.array([1, 2]), 0.0, 0.0).excess == 0
    assert measure(np.zeros((2, 1)), np.zeros((1, 2)), 1.0, 1.0).excess == MOST


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("/conv1/Conv", ["conv1"]),
        ("/layer1/layer1.0/conv1/Conv", ["layer1", "layer1.0", "layer1.0.conv1"]),
        ("/Add", []),
        ("Conv_7", []),
        ("", []),
    ],
)
def test_modules_in_torchscript_names(name, modules):
    assert list(modules_of(ir.Node("", "Conv", [], name=name))) == modules


def test_modules_in_dynamo_metadata():
    made = ir.Node("", "Conv", [], name="node_conv2d")
    made.metadata_props["pkg.torch.onnx.name_scopes"] = "['', 'inner', 'inner.0', 'conv2d']"
    assert list(modules_of(made)) == ["inner", "inner.0"]


def network():
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.act = nn.ReLU(inplace=True)
            self.drop = nn.Dropout()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.drop(self.act(self.norm(self.conv(x)))) + x

    return nn.Sequential(Block(), Block()).eval()


@pytest.mark.parametrize("dynamo", [True, False])
def test_torch_modules_find_their_tensors(folder, dynamo):
    """Both exporters fold a normalization and its convolution into one node, and name it after one or the other."""
    import torch

    module = network()
    path = folder / "exported.onnx"
    torch.onnx.export(
        module, (torch.rand(1, 4, 8, 8),), str(path), dynamo=dynamo, input_names=["x"], opset_version=18, verbose=False
    )
    model = ir.load(path)
    feed = {"x": np.random.default_rng(0).random((1, 4, 8, 8), np.float32)}
    with torch.no_grad():
        calls = record_calls(module, feed)
    tensors, behind = match(model, calls)
    (arrays,) = run_marked(model, set(tensors.values()), [feed])
    chosen = choose(tensors, behind, calls, arrays)
    assert {"0.norm", "0.act", "0", "1.norm", "1.act"} <= {calls[index].module for index in chosen}
    assert not any(calls[index].kind == "Conv2d" for index in chosen)
    for index, tensor in chosen.items():
        assert measure(calls[index].output, arrays[tensor], 1e-4, 1e-3).excess < 1, calls[index].module


def test_tvm_against_a_graph_that_it_was_not_made_from(folder, monkeypatch):
    """TVM itself computes right here: it gets another weight, as if it had converted one layer wrongly."""
    onnx.save(convolutions(), folder / "model.onnx")
    compiled = []

    def call(self, function, path, samples, indices, backend, target, scale, relative, settings, *, timeout):
        model = onnx.load(path)
        compiled.append(len(model.graph.node))
        for tensor in model.graph.initializer:
            if tensor.name == "w2":
                tensor.CopyFrom(constant("w2", numpy_helper.to_array(tensor) * 1.01))
        spoilt = f"{path}.spoilt.onnx"
        onnx.save(model, spoilt)
        monkeypatch.setattr(
            between_graph_and_engine,
            "run_engine",
            lambda backend, path, feed, target, settings: between_graph_and_engine.run_onnxruntime(spoilt, feed),
        )
        return between_graph_and_engine.compare_outputs(
            path, samples, indices, backend, target, scale, relative, settings
        )

    monkeypatch.setattr(between_graph_and_engine.Isolated, "call", call)
    found = between_graph_and_engine.search(
        folder / "model.onnx", folder, [0], "tvm", "native", folder, scale=2e-4, relative=1e-3, timeout=60
    )
    assert found.first is not None
    assert found.first.node == "conv2"
    assert compiled == [9, 9, 6]


def test_tvm_agrees_where_it_is_right(folder):
    onnx.save(convolutions(), folder / "model.onnx")
    found = between_graph_and_engine.search(
        folder / "model.onnx", folder, [0], "tvm", "native", folder, scale=2e-4, relative=1e-3, timeout=120
    )
    assert found.first is None
    assert [layer.node for layer in found.layers] == ["add"]
    assert not found.notes
