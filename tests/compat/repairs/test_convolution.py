"""Convolutions in explicit form give what ONNX Runtime gives."""

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


def weights(*sizes: int) -> np.ndarray:
    return np.random.default_rng(sum(sizes)).standard_normal(sizes).astype(np.float32)


def holds(id: str, model: onnx.ModelProto) -> None:
    found = proof(id, model)
    if currently_in_test_context():
        assume("can't be run" not in found.reason and "no generated input" not in found.reason)
    assert found.agrees, f"{found.reason}\n{onnx.printer.to_text(model)}"


sides = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=30, deadline=None)
@given(sides, sides, sides, st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]), st.integers(1, 2))
def test_automatic_padding(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], auto: str, groups: int
) -> None:
    # ONNX Runtime pads by less than nothing where the strides leave gaps.
    assume(all(d * (k - 1) + 1 >= s for k, s, d in zip(kernel, strides, dilations, strict=True)))
    model = one_node(
        "Conv", [1, 4, 9, 10], weights(6, 4 // groups, *kernel),
        auto_pad=auto, strides=strides, dilations=dilations, group=groups,
    )  # fmt: skip
    holds("conv-explicit-pads", model)


@settings(max_examples=30, deadline=None)
@given(
    sides, sides, sides, st.tuples(st.integers(0, 5), st.integers(0, 5)),
    st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]), st.booleans(),
)  # fmt: skip
def test_the_output_shape_of_a_transposed_convolution(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], more: tuple[int, int],
    auto: str, bias: bool,
) -> None:  # fmt: skip
    size = (4, 5)
    whole = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)]
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "auto_pad": auto}
    if auto != "VALID":
        shape = [n - 2 + extra for n, extra in zip(whole, more, strict=True)]
        assume(min(shape) > 0)
        # ONNX Runtime refuses more than a step behind the end, and onnx's reference puts it elsewhere
        assume(all(extra - 2 < step for extra, step in zip(more, strides, strict=True)))
        attributes["output_shape"] = shape
    inputs = [[1, 2, *size], weights(2, 3, *kernel), *([weights(3)] if bias else [])]
    holds("conv-transpose-explicit", one_node("ConvTranspose", *inputs, **attributes))


@pytest.mark.parametrize("kernel", [(3,), (2, 3), (2, 1, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_dilated_kernel_is_one_with_zeros(kernel: tuple[int, ...], groups: int) -> None:
    dilations, strides = [2, 3, 1][: len(kernel)], [2, 1, 2][: len(kernel)]
    model = one_node(
        "ConvTranspose", [2, 4, *[5] * len(kernel)], weights(4, 3, *kernel), weights(3 * groups),
        group=groups, dilations=dilations, strides=strides, kernel_shape=kernel, pads=[1] * (2 * len(kernel)),
    )  # fmt: skip
    holds("conv-transpose-undilated", model)
    with pytest.raises(NotApplicable, match="run time"):
        repaired("conv-transpose-undilated", one_node("ConvTranspose", [1, 2, 5], [2, 2, 3], dilations=[2]))


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_a_convolution_along_one_axis(op: str) -> None:
    for attributes in ({"pads": [1, 2]}, {"strides": [2], "dilations": [2]}, {"auto_pad": "SAME_UPPER"}, {"group": 2}):
        groups = attributes.get("group", 1)
        w = weights(6, 4 // groups, 3) if op == "Conv" else weights(4, 6 // groups, 3)
        holds("conv-1d-as-2d", one_node(op, [2, 4, 9], w, **attributes))
    with pytest.raises(NotApplicable, match="one axis"):
        repaired("conv-1d-as-2d", one_node("Conv", [1, 4, 9, 9], weights(6, 4, 3, 3)))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from(["DCR", "CRD"]))
def test_depth_and_space(side: int, channels: int, mode: str) -> None:
    deep = one_node("DepthToSpace", ["n", channels * side * side, 2, 3], blocksize=side, mode=mode)
    holds("depth-to-space", deep)
    wide = one_node("SpaceToDepth", ["n", channels, 2 * side, 3 * side], blocksize=side)
    holds("space-to-depth", wide)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_to_depth_is_the_reverse_of_depth_to_space(mode: str) -> None:
    before = one_node("DepthToSpace", [2, 12, 2, 3], blocksize=2, mode=mode)
    x = np.arange(144, dtype=np.float32).reshape(2, 12, 2, 3)
    spread = InferenceSession(before.SerializeToString()).run(None, {"x0": x})[0]
    # Before opset 27 SpaceToDepth has no mode, but exporters write it.
    model = one_node("SpaceToDepth", [2, 3, 4, 6], blocksize=2, mode=mode)
    after, _ = repaired("space-to-depth", model)
    found = InferenceSession(ir.to_proto(after).SerializeToString()).run(None, {"x0": spread})[0]
    np.testing.assert_array_equal(found, x)
