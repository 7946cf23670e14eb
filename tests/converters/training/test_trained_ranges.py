"""A layer is found in the graph again by its int8 codes, whatever became of its weights on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.converters.precision.int8.weights import along, rounded, scales
from enginesmith.converters.precision.lower import prepare
from enginesmith.converters.training.ranges import fingerprint, trained_ranges
from enginesmith.converters.training.record import FineTuning

Array = np.ndarray[Any, Any]


def on_the_grid(shape: tuple[int, ...], seed: int, axis: int = 0) -> Array:
    """Weights as a training with rounding leaves them."""
    weights = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    scale = scales(weights, axis)
    return (rounded(weights, scale, axis) * along(scale, weights.ndim, axis)).astype(np.float32)


CHANGES: dict[str, Callable[[Array, np.random.Generator], tuple[Array, int]]] = {
    "nothing": lambda w, rng: (w, 0),
    "BatchNorm": lambda w, rng: (w * rng.normal(0, 5, (len(w), 1)).astype(np.float32), 0),
    "transposed": lambda w, rng: (np.ascontiguousarray(w.T), 1),
    "inputs in another order": lambda w, rng: (w[:, rng.permutation(w.shape[1])], 0),
}


@given(seed=st.integers(0, 10_000), change=st.sampled_from(sorted(CHANGES)))
def test_what_exporters_do_leaves_the_mark(seed: int, change: str) -> None:
    weights = on_the_grid((5, 12), seed)
    changed, axis = CHANGES[change](weights, np.random.default_rng(seed))
    assert fingerprint(changed, axis) == fingerprint(weights, 0)


@given(seed=st.integers(0, 10_000))
def test_other_weights_have_another(seed: int) -> None:
    assert fingerprint(on_the_grid((5, 12), seed), 0) != fingerprint(on_the_grid((5, 12), seed + 1), 0)


def record(ranges: dict[str, float], weights: dict[str, Array]) -> FineTuning:
    marks = {name: fingerprint(array, 0) for name, array in weights.items()}
    return FineTuning(function="", ranges=ranges, fingerprints=marks)


def model(first: Array, second: Array) -> ir.Model:
    """Two products side by side on one tensor, the second with its weights transposed."""
    return prepare(
        ir.from_onnx_text(
            f"""<ir_version: 9, opset_import: ["" : 18]>
            agraph (float[3, {first.shape[1]}] x) => (float[3, N] y) {{
                r = Relu(x)
                a = Gemm<transB = 1>(r, first)
                b = MatMul(r, second)
                y = Add(a, b)
            }}""",
            initializers=[ir.tensor(first, name="first"), ir.tensor(second.T.copy(), name="second")],
        ),
        "int8",
    )


def test_a_tensor_that_several_layers_read_has_the_largest_range() -> None:
    weights = {"one": on_the_grid((6, 8), 1), "two": on_the_grid((6, 8), 2)}
    found, lost = trained_ranges(model(*weights.values()), record({"one": 2.0, "two": 3.0}, weights))
    assert (found, lost) == ({"r": pytest.approx(3.0)}, [])


def test_a_layer_that_is_not_in_the_graph_is_named() -> None:
    weights = {"one": on_the_grid((6, 8), 1), "gone": on_the_grid((6, 8), 3)}
    graph = model(weights["one"], on_the_grid((6, 8), 2))
    found, lost = trained_ranges(graph, record({"one": 2.0, "gone": 3.0}, weights))
    assert (found, lost) == ({"r": 2.0}, ["gone"])
