"""Classical models in standard operators give what ONNX Runtime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from one_node import repaired
from onnx import TensorProto, helper, numpy_helper

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs import GRAPH_REPAIRS
from enginesmith.compat.target import Target
from enginesmith.converters.graphs.proof import difference, runner

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
VERSION = {"TreeEnsemble": 5, "LabelEncoder": 4, "TreeEnsembleRegressor": 3}


def model_of(op: str, kind: int, shape: list[int], result: int = FLOAT, **attributes: Any) -> onnx.ModelProto:
    """One node of ai.onnx.ml over `x`, beside the default domain."""
    version = VERSION.get(op, 1)
    node = helper.make_node(op, ["x"], ["y"], "node", domain="ai.onnx.ml", **attributes)
    x, y = helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("y", result, None)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(helper.make_graph([node], "one", [x], [y]), opset_imports=opsets, ir_version=10)


def same(id: str, model: onnx.ModelProto, x: NDArray[Any], tolerance: float = 1e-5) -> None:
    after, _ = repaired(id, model)
    assert all(node.domain == "" for node in after.graph)
    expected, found = (runner(one)({"x": x}) for one in (model, ir.to_proto(after)))
    error, reason = difference(expected, found, tolerance)
    assert not reason, f"{reason} ({error})\n{expected}\n{found}"


columns = st.sampled_from([[0.5], [0.5, -1.0, 2.0]])
values = st.lists(st.sampled_from([0.0, 1.0, -2.0, 0.5, 3.0]), min_size=12, max_size=12)


@settings(max_examples=30, deadline=None)
@given(values, st.sampled_from([0.0, 1.0, 0.5]))
def test_binarizer(numbers: list[float], threshold: float) -> None:
    x = np.array(numbers, np.float32).reshape(4, 3)
    same("binarizer", model_of("Binarizer", FLOAT, [4, 3], threshold=threshold), x, 0)


@settings(max_examples=30, deadline=None)
@given(values, columns, columns)
def test_scaler(numbers: list[float], offset: list[float], scale: list[float]) -> None:
    if len(offset) == len(scale):
        x = np.array(numbers, np.float32).reshape(4, 3)
        same("scaler", model_of("Scaler", FLOAT, [4, 3], offset=offset, scale=scale), x)


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(norm: str) -> None:
    x = np.array([[1, -2, 3], [0.5, 0.25, 0], [0, 0, 0], [7, 7, 7]], np.float32)
    same("normalizer", model_of("Normalizer", FLOAT, [4, 3], norm=norm), x)


@pytest.mark.parametrize("replaced", [0.5, float("nan")])
@pytest.mark.parametrize("imputed", [[9.0], [7.0, 8.0, 9.0]])
def test_imputer(replaced: float, imputed: list[float]) -> None:
    x = np.array([[0.5, np.nan, 3], [1, 0.5, np.nan]], np.float32)
    model = model_of("Imputer", FLOAT, [2, 3], imputed_value_floats=imputed, replaced_value_float=replaced)
    same("imputer", model, x, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-5, 5), unique=True, min_size=1, max_size=6), st.booleans())
def test_label_encoder(keys: list[int], tensors: bool) -> None:
    x = np.arange(-6, 6)
    numbers = np.linspace(0, 1, len(keys), dtype=np.float32)
    if tensors:
        given_tensors = {
            "keys_tensor": numpy_helper.from_array(np.array(keys)),
            "values_tensor": numpy_helper.from_array(numbers),
            "default_tensor": numpy_helper.from_array(np.array([4.5], np.float32)),
        }
        model = model_of("LabelEncoder", INT64, [12], **given_tensors)
    else:
        model = model_of("LabelEncoder", INT64, [12], keys_int64s=keys, values_floats=numbers, default_float=4.5)
    same("label-encoder", model, x, 0)


def test_strings_are_left_alone() -> None:
    model = model_of("LabelEncoder", STRING, [2], INT64, keys_strings=["a"], values_int64s=[1])
    with pytest.raises(NotApplicable, match="strings"):
        repaired("label-encoder", model)


@pytest.mark.parametrize("targets", [1, 2])
def test_linear_regressor(targets: int) -> None:
    rng = np.random.default_rng(0)
    model = model_of(
        "LinearRegressor", FLOAT, [4, 3], coefficients=rng.random(3 * targets), intercepts=rng.random(targets),
        targets=targets,
    )  # fmt: skip
    same("linear-regressor", model, rng.standard_normal((4, 3)).astype(np.float32))


def test_a_model_of_ml_alone_gets_the_default_domain() -> None:
    model = model_of("Binarizer", FLOAT, [2])
    del model.opset_import[0]
    found = ir.from_proto(model)
    assert GRAPH_REPAIRS["modern-opset"].rewrite(found, Target("tvm", "0.27")) == 1
    assert found.opset_imports[""] == 18
    assert GRAPH_REPAIRS["modern-opset"].rewrite(found, Target("tvm", "0.27")) == 0


class Tree:
    """A random tree: its nodes in the order of a walk, each (feature, mode, split, true, false) or a leaf's weight."""

    def __init__(self, rng: np.random.Generator, modes: list[str], depth: int, features: int) -> None:
        self.nodes: list[Any] = []
        self._rng, self._modes, self._features = rng, modes, features
        self._grow(depth)

    def _grow(self, depth: int) -> int:
        place = len(self.nodes)
        self.nodes.append(None)
        if depth == 0 or (place and self._rng.random() < 0.3):
            self.nodes[place] = float(self._rng.integers(-8, 8))
        else:
            mode = str(self._rng.choice(self._modes))
            split = float(self._rng.integers(-2, 3))
            feature = int(self._rng.integers(self._features))
            self.nodes[place] = (feature, mode, split, self._grow(depth - 1), self._grow(depth - 1))
        return place


def inputs(rng: np.random.Generator) -> NDArray[Any]:
    x = rng.integers(-3, 4, (16, 3)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**20), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["SUM", "AVERAGE"]), st.booleans(),
    st.sampled_from([MODES, ["BRANCH_LEQ"], ["BRANCH_LT"]]), st.sampled_from([[], [0.5]]),
)  # fmt: skip
def test_regressors(
    seed: int, trees: int, depth: int, aggregate: str, missing: bool, modes: list[str], base: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    # ONNX Runtime adds no base value to a target of which a row reaches no leaf: one target always has its leaf.
    targets = 1 if base else 2
    told: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids",
                                                        "falsenodeids", "missing_value_tracks_true")}  # fmt: skip
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        for place, node in enumerate(Tree(rng, modes, depth, 3).nodes):
            leaf = isinstance(node, float)
            feature, mode, split, true, false = (0, "LEAF", 0.0, 0, 0) if leaf else node
            tracks = int(missing and not leaf and rng.random() < 0.5)
            row = (tree, place, feature, split, mode, true, false, tracks)
            for name, item in zip(told, row, strict=True):
                told[name].append(item)
            if leaf:
                for name, item in zip(leaves, (tree, place, int(rng.integers(targets)), node), strict=True):
                    leaves[name].append(item)
    model = model_of(
        "TreeEnsembleRegressor", FLOAT, [16, 3], n_targets=targets, aggregate_function=aggregate, base_values=base or None,
        **{f"nodes_{name}": items for name, items in told.items()},
        **{f"target_{name}": items for name, items in leaves.items()},
    )  # fmt: skip
    same("tree-ensemble-regressor", model, inputs(rng))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 3), st.integers(1, 3), st.sampled_from([0, 1]))
def test_ensembles(seed: int, trees: int, depth: int, aggregate: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER"]
    told: dict[str, list[int]] = {
        name: [] for name in ("featureids", "truenodeids", "falsenodeids", "trueleafs", "falseleafs")
    }
    modes, splits, members, roots, ids, weights = [], [], [], [], [], []
    for _ in range(trees):
        nodes = Tree(rng, names, depth, 3).nodes
        branches = [place for place, node in enumerate(nodes) if not isinstance(node, float)]
        number = {place: len(modes) + count for count, place in enumerate(branches)}
        for place, node in enumerate(nodes):
            if isinstance(node, float):
                number[place] = len(ids)
                ids.append(int(rng.integers(2)))
                weights.append(node)
        roots.append(number[0])
        for place in branches:
            feature, mode, split, true, false = nodes[place]
            modes.append(names.index(mode))
            splits.append(split)
            if mode == "BRANCH_MEMBER":
                members += [*rng.integers(-3, 4, 2).tolist(), float("nan")]
            row = (
                feature,
                number[true],
                number[false],
                isinstance(nodes[true], float),
                isinstance(nodes[false], float),
            )
            for name, item in zip(told, row, strict=True):
                told[name].append(int(item))
    arrays = {"nodes_splits": splits, "leaf_weights": weights, **({"membership_values": members} if members else {})}
    model = model_of(
        "TreeEnsemble", FLOAT, [16, 3], n_targets=2, aggregate_function=aggregate, post_transform=0, tree_roots=roots,
        leaf_targetids=ids, nodes_modes=numpy_helper.from_array(np.array(modes, np.uint8)),
        **{name: numpy_helper.from_array(np.array(items, np.float32)) for name, items in arrays.items()},
        **{f"nodes_{name}": items for name, items in told.items()},
    )  # fmt: skip
    same("tree-ensemble", model, inputs(rng))
