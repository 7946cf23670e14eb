"""Padding of every mode, negative, of some axes, and by amounts known at run time only, is proved."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable

MODES = ["constant", "edge", "reflect", "wrap"]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(MODES), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data(), st.booleans(),
    st.sampled_from([1, 6, 7, 9]),
)  # fmt: skip
def test_padding_is_a_choice_of_elements(
    mode: str, sizes: list[int], data: st.DataObject, some: bool, kind: int
) -> None:
    low = -min(min(sizes) - 1, 1) if mode in ("constant", "edge") else 0
    high = min(sizes) - 1 if mode == "reflect" else 3
    count = data.draw(st.integers(1, len(sizes))) if some else len(sizes)
    axes = list(range(len(sizes)))[:count]
    amounts = st.lists(st.integers(low, high), min_size=count, max_size=count)
    before, after = data.draw(amounts), data.draw(amounts)
    for place, axis in enumerate(axes):
        if sizes[axis] + before[place] + after[place] < 1:
            before[place] = 0
    pads = np.asarray([*before, *after], np.int64)
    chosen = np.asarray([axis - len(sizes) * (axis % 2) for axis in axes], np.int64) if some else None
    value = np.asarray(3, onnx.helper.tensor_dtype_to_np_dtype(kind)) if mode == "constant" else None
    inputs: list[Any] = [sizes, pads, value, chosen]
    while inputs[-1] is None:
        inputs.pop()
    model = one_node("Pad", *inputs, dtypes=[kind], outputs=[(kind, ())], opset=19, mode=mode)
    found = proof("pad-by-gather", model)
    assert found.agrees, f"{found.reason}\n{onnx.printer.to_text(model)}"
    try:
        found = proof("pad-cropped", model)
    except NotApplicable:
        assert chosen is None
        assert pads.min() >= 0
    else:
        assert found.agrees, f"{found.reason}\n{onnx.printer.to_text(model)}"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("some", [False, True])
def test_amounts_known_at_run_time_only(mode: str, some: bool) -> None:
    inputs: list[Any] = [[2, 3, 4], [4 if some else 6], *([None, [2]] if some else [])]
    model = one_node("Pad", *inputs, dtypes=[1, 7, 1, 7], outputs=[(1, [2, 5, 6])], opset=19, mode=mode)
    found = proof("pad-by-gather", model)
    assert found.agrees, found.reason
    assert found.samples


def test_what_is_mirrored_is_not_cut_off_before() -> None:
    model = one_node("Pad", [5, 5], np.asarray([2, -1, 0, 0], np.int64), opset=18, mode="reflect")
    with pytest.raises(NotApplicable, match="mirrored"):
        repaired("pad-cropped", model)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=2, max_size=3), st.booleans())
def test_crops_and_pads_about_the_centre(sizes: list[tuple[int, int]], at_run_time: bool) -> None:
    old, new = [2, *(a for a, _ in sizes)], [2, *(b for _, b in sizes)]
    axes = list(range(1, len(old)))
    wanted: Any = [len(sizes)] if at_run_time else np.asarray(new[1:], np.int64)
    model = one_node("CenterCropPad", old, wanted, dtypes=[1, 7], outputs=[(1, new)], axes=axes)
    found = proof("center-crop-pad", model)
    assert found.agrees, found.reason
