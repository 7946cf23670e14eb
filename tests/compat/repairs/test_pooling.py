"""Every form of pooling that ONNX Runtime takes is the same in slices, convolutions or scatters."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import assume, currently_in_test_context, given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired
from onnxruntime import InferenceSession

from enginesmith.compat.building import NotApplicable

FLOAT, UINT8, INT8, INT64 = 1, 2, 3, 7


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[int], dict[str, Any]]:
    """The input's shape and a pooling's attributes, with one to three axes."""
    axes = draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))

    kernel, dilations = each(1, 3), each(1, 2)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": each(1, 3), "dilations": dilations}
    if draw(st.booleans()):
        # ONNX Runtime pads for an undilated kernel then, and by less than nothing where the strides leave gaps.
        attributes["dilations"] = [1] * axes
        attributes["strides"] = [min(n, k) for n, k in zip(attributes["strides"], kernel, strict=True)]
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    else:
        before = [min(n, k - 1) for n, k in zip(each(0, 2), kernel, strict=True)]
        after = [min(n, k - 1) for n, k in zip(each(0, 2), kernel, strict=True)]
        attributes["pads"] = [*before, *after]
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    return [draw(st.integers(1, 2)), draw(st.integers(1, 3)), *each(6, 9)], attributes


def holds(id: str, model: onnx.ModelProto) -> None:
    found = proof(id, model)
    # What ONNX Runtime itself can't do shows nothing.
    if currently_in_test_context():
        assume("can't be run" not in found.reason and "no generated input" not in found.reason)
    assert found.agrees, f"{found.reason}\n{onnx.printer.to_text(model)}"


@settings(max_examples=30, deadline=None)
@given(windows())
def test_maxima_by_slices(given: tuple[list[int], dict[str, Any]]) -> None:
    sizes, attributes = given
    holds("max-pool-dilated", one_node("MaxPool", sizes, **attributes))


@settings(max_examples=30, deadline=None)
@given(windows(), st.integers(0, 1))
def test_the_indices_of_maxima(given: tuple[list[int], dict[str, Any]], order: int) -> None:
    sizes, attributes = given
    assume(any(n > 1 for n in attributes["kernel_shape"]))
    model = one_node("MaxPool", sizes, outputs=[(FLOAT, ()), (INT64, ())], storage_order=order, **attributes)
    after, _ = repaired("max-pool-indices", model)
    # Of equal values the first one counts, so that inputs with ties are part of it.
    for x in (np.random.default_rng(0).standard_normal(sizes), np.random.default_rng(1).integers(0, 3, sizes)):
        feed = {"x0": x.astype(np.float32)}
        try:
            expected = InferenceSession(model.SerializeToString()).run(None, feed)
        except Exception:  # noqa: BLE001
            assume(False)
        found = InferenceSession(ir.to_proto(after).SerializeToString()).run(None, feed)
        np.testing.assert_array_equal(expected[0], found[0])
        np.testing.assert_array_equal(expected[1], found[1])


@settings(max_examples=30, deadline=None)
@given(windows(), st.integers(0, 1))
def test_averages_by_convolution(given: tuple[list[int], dict[str, Any]], include: int) -> None:
    sizes, attributes = given
    holds(
        "average-pool-by-convolution", one_node("AveragePool", sizes, opset=19, count_include_pad=include, **attributes)
    )


@settings(max_examples=30, deadline=None)
@given(windows(), st.integers(1, 4))
def test_norms_by_convolution(given: tuple[list[int], dict[str, Any]], p: int) -> None:
    sizes, attributes = given
    holds("lp-pool-by-convolution", one_node("LpPool", sizes, p=p, **attributes))


@settings(max_examples=30, deadline=None)
@given(windows(), st.sampled_from(["MaxPool", "AveragePool", "LpPool"]))
def test_automatic_padding(given: tuple[list[int], dict[str, Any]], op: str) -> None:
    sizes, attributes = given
    assume("auto_pad" in attributes)
    holds("pool-explicit-pads", one_node(op, sizes, opset=19, **attributes))


def test_pooling_with_a_batch_of_any_size() -> None:
    for id, op, opset in (("average-pool-by-convolution", "AveragePool", 19), ("max-pool-dilated", "MaxPool", 18)):
        model = one_node(op, ["n", 3, 8, 9], opset=opset, kernel_shape=[3, 2], dilations=[2, 1])
        found = proof(id, model)
        assert found.agrees, found.reason
    with pytest.raises(NotApplicable, match="height and width"):
        repaired("max-pool-dilated", one_node("MaxPool", [1, 3, "h", 9], kernel_shape=[3, 2], dilations=[2, 1]))


@pytest.mark.parametrize("kind", [UINT8, INT8])
def test_maxima_of_small_integers(kind: int) -> None:
    model = one_node("MaxPool", [1, 2, 6, 6], dtypes=[kind], outputs=[(kind, ())], kernel_shape=[3, 3], pads=[1] * 4)
    found = proof("max-pool-float", model)
    assert found.agrees, found.reason


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_norm_of_a_channel(p: int) -> None:
    found = proof("global-lp-pool", one_node("GlobalLpPool", [2, 3, 4, 5], p=p))
    assert found.agrees, found.reason


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_unpooling_puts_the_maxima_back(stride: int, batch: int, told: bool) -> None:
    sizes = [batch, 2, 3, 4]
    whole = [batch, 2, *((n - 1) * stride + 2 for n in sizes[2:])]
    shape = np.asarray(whole, np.int64) if told else None
    inputs = [sizes, sizes] if shape is None else [sizes, sizes, shape]
    model = one_node(
        "MaxUnpool", *inputs, dtypes=[FLOAT, INT64], outputs=[(FLOAT, whole)], kernel_shape=[2, 2], strides=[stride] * 2
    )
    after, _ = repaired("max-unpool-by-scatter", model)
    rng = np.random.default_rng(stride)
    at = rng.permutation(int(np.prod(whole)))[: int(np.prod(sizes))].reshape(sizes)
    feed = {"x0": rng.standard_normal(sizes).astype(np.float32), "x1": at}
    expected, found = (InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_array_equal(expected, found)
