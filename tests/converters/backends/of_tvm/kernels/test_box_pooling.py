"""Boxes pooled by one kernel, against ONNX Runtime's Gather and MatMul."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def pooling(chunks: int, boxes: int, bins: int, wide: int, samples: int, columns: int, channels: int) -> str:
    """The graph as `PyramidPooling` is exported, for chunks of `boxes` boxes."""
    total, rows = chunks * boxes, bins * samples
    parts = range(chunks)
    cells, down, across = (", ".join(f"{name}{i}" for i in parts) for name in ("cells", "down", "across"))
    if chunks == 1:
        cut = "cells0 = Identity (cells) down0 = Identity (down) across0 = Identity (across)"
    else:
        cut = " ".join(
            f"{names} = Split <axis = 0, num_outputs = {chunks}> ({name})"
            for names, name in ((cells, "cells"), (down, "down"), (across, "across"))
        )
    steps = " ".join(
        f"flat{i} = Reshape (cells{i}, one) rows{i} = Gather <axis = 0> (table, flat{i})"
        f" cut{i} = Reshape (rows{i}, as_cut) first{i} = MatMul (down{i}, cut{i})"
        f" wide{i} = Reshape (first{i}, as_wide) y{i} = MatMul (across{i}, wide{i})"
        for i in parts
    )
    end = f"p = Concat <axis = 0> ({', '.join(f'y{i}' for i in parts)})" if chunks > 1 else "p = Identity (y0)"
    return (
        f"(float[9, {channels}] table, int64[{total}, {rows}, {columns}] cells, float[{total}, {bins}, 1, {samples}] down,"
        f" float[{total}, 1, {wide}, {columns}] across) => (float[{total}, {bins}, {wide}, {channels}] y)"
        f" <int64[1] one = {{-1}}, int64[4] as_cut = {{{boxes}, {bins}, {samples}, {columns * channels}}},"
        f" int64[4] as_wide = {{{boxes}, {bins}, {columns}, {channels}}}>"
        f" {{ {cut} {steps} {end} y = Relu (p) }}"
    )


def test_boxes_are_pooled_by_one_kernel(agrees: Any) -> None:
    @QUICK
    @given(
        chunks=st.integers(1, 3),
        boxes=st.integers(1, 3),
        bins=st.tuples(st.integers(1, 4), st.integers(1, 12)),
        samples=st.integers(1, 4),
        columns=st.integers(2, 9),
        channels=st.integers(4, 40),
    )
    def property_holds(
        chunks: int, boxes: int, bins: tuple[int, int], samples: int, columns: int, channels: int
    ) -> None:
        """Indices count from the end where they are negative; chunks become one call again."""
        told = agrees(pooling(chunks, boxes, *bins, samples, columns, channels))
        assert told["kernels"] == {"box pooling": 1}
        assert not [text for text in told["left"] if "split" in text or "concat" in text]

    property_holds()


@pytest.mark.parametrize("order", ["y1, y0", "y0, y0"])
def test_chunks_in_another_order_stay_apart(agrees: Any, order: str) -> None:
    text = pooling(2, 2, 3, 3, 2, 4, 16).replace("Concat <axis = 0> (y0, y1)", f"Concat <axis = 0> ({order})")
    told = agrees(text)
    assert told["kernels"]["box pooling"] == len({*order.split(", ")})


def test_a_result_in_between_that_is_wanted(agrees: Any) -> None:
    """What the kernel computes inside has other uses: it is computed once more."""
    text = pooling(1, 3, 2, 2, 2, 5, 8)
    rows = 3 * 2 * 2 * 5
    told = agrees(text.replace(" y)", f" y, float[{rows}, 8] rows0)", 1))
    assert told["kernels"]["box pooling"] == 1


def test_least_and_largest_of_several(agrees: Any) -> None:
    """Min and Max broadcast, of any number of tensors."""
    rng = np.random.default_rng(0)
    agrees(
        "(float[3, 1, 5] x, float[4, 5] z) => (float[3, 4, 5] y, float[3, 4, 5] w) {"
        " y = Min (x, z, w0) m = Max (x, z) w = Max (m, w1, x) }",
        {"w0": rng.standard_normal(5), "w1": rng.standard_normal((1, 4, 1))},
    )
