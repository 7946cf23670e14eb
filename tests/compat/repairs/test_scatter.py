"""Scatters with a reduction, with several updates in one place, and scatters into a cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, repaired

from enginesmith.compat.building import NotApplicable
from enginesmith.converters.graphs.proof import compared, difference, runner

FLOAT, INT32, INT64 = 1, 6, 7
REDUCTIONS = st.sampled_from(["add", "mul", "max", "min"])
Array = np.ndarray[Any, Any]


def same(id: str, model: onnx.ModelProto, *arrays: Array, tolerance: float = 0.0) -> None:
    after, _ = repaired(id, model)
    onnx.checker.check_model(ir.to_proto(after), full_check=False)
    feed = {f"x{place}": array for place, array in enumerate(arrays)}
    error, reason = difference(
        runner(model)(dict(feed)), runner(ir.to_proto(after), reference=False)(dict(feed)), tolerance
    )
    assert not reason, f"{reason} ({error})"


def numbers(rng: np.random.Generator, kind: int, sizes: list[int]) -> Array:
    whole = rng.integers(-5, 5, sizes)
    return whole.astype(np.int32) if kind == INT32 else (whole + rng.random(sizes)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), reduction=REDUCTIONS, kind=st.sampled_from([FLOAT, INT32]), seed=st.integers(0, 999))
def test_scatter_elements(data: st.DataObject, reduction: str, kind: int, seed: int) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    axis = data.draw(st.integers(-len(sizes), len(sizes) - 1))
    places = [data.draw(st.integers(1, size)) for size in sizes]
    places[axis] = data.draw(st.integers(1, 8))
    rng = np.random.default_rng(seed)
    arrays = numbers(rng, kind, sizes), rng.integers(-sizes[axis], sizes[axis], places), numbers(rng, kind, places)
    model = one_node(
        "ScatterElements",
        *(sizes, places, places),
        dtypes=[kind, INT64, kind],
        outputs=[(kind, sizes)],
        axis=axis,
        reduction=reduction,
    )
    same("scatter-elements-by-steps", model, *arrays)
    whole = [*sizes]
    whole[axis] = places[axis]
    if places == whole:
        same("scatter-elements-by-comparison", model, *arrays, tolerance=1e-6)
    else:
        with pytest.raises(NotApplicable, match="a part of the other axes"):
            repaired("scatter-elements-by-comparison", model)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), kind=st.sampled_from([FLOAT, INT32]), seed=st.integers(0, 999))
def test_more_updates_than_places_and_the_last_one_stays(data: st.DataObject, kind: int, seed: int) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    axis = data.draw(st.integers(-len(sizes), len(sizes) - 1))
    places = [*sizes]
    places[axis] += data.draw(st.integers(1, 8))
    rng = np.random.default_rng(seed)
    arrays = numbers(rng, kind, sizes), rng.integers(-sizes[axis], sizes[axis], places), numbers(rng, kind, places)
    dtypes = [kind, INT64, kind]
    model = one_node("ScatterElements", sizes, places, places, dtypes=dtypes, outputs=[(kind, sizes)], axis=axis)
    same("scatter-elements-last-wins", model, *arrays)
    shapes = [[*sizes], [*places], [*places]]
    for shape, name in zip(shapes, ("places", "updates", "updates"), strict=True):
        shape[axis] = name
    model = one_node("ScatterElements", *shapes, dtypes=dtypes, outputs=[(kind, shapes[0])], axis=axis)
    same("scatter-elements-last-wins", model, *arrays)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), reduction=REDUCTIONS, kind=st.sampled_from([FLOAT, INT32]), seed=st.integers(0, 999))
def test_scatter_nd(data: st.DataObject, reduction: str, kind: int, seed: int) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    depth = data.draw(st.integers(1, len(sizes)))
    many = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    rng = np.random.default_rng(seed)
    limits = np.array(sizes[:depth])
    indices = rng.integers(-limits, limits, [*many, depth])
    update = [*many, *sizes[depth:]]
    arrays = numbers(rng, kind, sizes), indices, numbers(rng, kind, update)
    model = one_node(
        "ScatterND",
        *(sizes, [*many, depth], update),
        dtypes=[kind, INT64, kind],
        outputs=[(kind, sizes)],
        reduction=reduction,
    )
    same("scatter-nd-by-steps", model, *arrays)
    same("scatter-nd-by-comparison", model, *arrays, tolerance=1e-6)


@pytest.mark.parametrize("reduction", ["max", "min"])
@pytest.mark.parametrize("by", ["steps", "comparison"])
@pytest.mark.parametrize("op", ["ScatterND", "ScatterElements"])
def test_nan_as_one_of_two_witnesses_has_it(op: str, by: str, reduction: str) -> None:
    """ONNX Runtime forgets NaN where a number comes after it, and the reference keeps it, or ignores it in updates."""
    attributes: dict[str, Any] = {"reduction": reduction} | ({"axis": 0} if op == "ScatterElements" else {})
    places = [6, 1] if op == "ScatterND" else [6]
    told: dict[str, Any] = {"dtypes": [FLOAT, INT64, FLOAT], "outputs": [(FLOAT, [5])]}
    model = one_node(op, [5], places, [6], **told, **attributes)
    id = f"scatter-{'nd' if op == 'ScatterND' else 'elements'}-by-{by}"
    after, _ = repaired(id, model)
    feed = {
        "x0": np.array([0, 5, 0, np.nan, 5], np.float32),
        "x1": np.array([0, 2, 3, 4, 4, 1]).reshape(places),
        "x2": np.array([np.nan, np.nan, 1, np.nan, 9, 2], np.float32),
    }
    found = compared(model, ir.to_proto(after), 0.0, [feed])
    assert found.agrees, found.reason
    wrong = one_node(op, [5], places, [6], **told, **{**attributes, "reduction": "add"})
    assert not compared(model, wrong, 0.0, [feed]).agrees


@settings(max_examples=20, deadline=None)
@given(data=st.data(), reduction=REDUCTIONS, seed=st.integers(0, 999))
def test_sizes_that_only_the_run_tells(data: st.DataObject, reduction: str, seed: int) -> None:
    rows, width, many = (data.draw(st.integers(1, 5)) for _ in range(3))
    rng = np.random.default_rng(seed)
    given = numbers(rng, FLOAT, [rows, width]), rng.integers(-rows, rows, [many, 1]), numbers(rng, FLOAT, [many, width])
    told: dict[str, Any] = {"dtypes": [FLOAT, INT64, FLOAT], "outputs": [(FLOAT, ["n", "w"])], "reduction": reduction}
    model = one_node("ScatterND", ["n", "w"], ["m", 1], ["m", "w"], **told)
    same("scatter-nd-by-comparison", model, *given, tolerance=1e-6)
    with pytest.raises(NotApplicable, match="unknown number of updates"):
        repaired("scatter-nd-by-steps", model)
    same("scatter-nd-by-steps", one_node("ScatterND", ["n", "w"], [many, 1], [many, "w"], **told), *given)
    lines = given[0], rng.integers(-width, width, [rows, many]), numbers(rng, FLOAT, [rows, many])
    model = one_node("ScatterElements", ["n", "w"], ["n", "m"], ["n", "m"], axis=1, **told)
    same("scatter-elements-by-comparison", model, *lines, tolerance=1e-6)
    model = one_node("ScatterElements", ["n", "w"], ["n", many], ["n", many], axis=1, **told)
    same("scatter-elements-by-steps", model, *lines)
    with pytest.raises(NotApplicable, match="a part of the other axes"):
        repaired(
            "scatter-elements-by-comparison", one_node("ScatterElements", ["n", 5], ["m", 3], ["m", 3], axis=1, **told)
        )


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
def test_infinite_updates_spoil_no_other_place(reduction: str) -> None:
    rng = np.random.default_rng(1)
    data, updates = (rng.standard_normal(sizes).astype(np.float32) for sizes in ([6, 4], [30, 4]))
    places = rng.integers(-6, 6, [30, 1])
    updates[0, 0], updates[1, 1], updates[[3, 4], 3] = np.inf, -np.inf, (np.inf, -np.inf)
    if reduction == "add":  # which of a number and a NaN is larger depends on their order, in ONNX Runtime
        updates[2, 2] = np.nan
    places[4] = places[3]
    model = one_node(
        "ScatterND", *([6, 4], [30, 1], [30, 4]), dtypes=[FLOAT, INT64, FLOAT], outputs=[(FLOAT, [6, 4])],
        reduction=reduction,
    )  # fmt: skip
    same("scatter-nd-by-comparison", model, data, places, updates, tolerance=1e-6)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), mode=st.sampled_from(["linear", "circular"]), seed=st.integers(0, 999))
def test_scatter_into_a_cache(data: st.DataObject, mode: str, seed: int) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=3, max_size=4))
    axis = data.draw(st.sampled_from([-2, *range(1, len(sizes))]))
    update = [*sizes]
    update[axis] = data.draw(st.integers(1, sizes[axis]))
    rng = np.random.default_rng(seed)
    room = sizes[axis] - update[axis] if mode == "linear" else sizes[axis] - 1
    arrays = numbers(rng, FLOAT, sizes), numbers(rng, FLOAT, update), rng.integers(0, room, sizes[0], endpoint=True)
    model = one_node(
        "TensorScatter",
        *(sizes, update, [sizes[0]]),
        dtypes=[FLOAT, FLOAT, INT64],
        outputs=[(FLOAT, sizes)],
        opset=24,
        mode=mode,
        axis=axis,
    )
    same("tensor-scatter-by-elements", model, *arrays)


def test_more_than_can_be_compared_is_refused() -> None:
    model = one_node(
        "ScatterND",
        *([100000, 4], [90000, 1], [90000, 4]),
        dtypes=[FLOAT, INT64, FLOAT],
        outputs=[(FLOAT, ())],
        reduction="add",
    )
    with pytest.raises(NotApplicable, match="9000000000 pairs of a place and an update"):
        repaired("scatter-nd-by-comparison", model)
