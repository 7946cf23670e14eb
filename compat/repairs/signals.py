"""Fourier transforms as products with constant matrices, and windows of a known size."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.reference import evaluate
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, dtype, static_shape

MAX_LENGTH = 4096
"""The matrices of a longer transform take more than 128 MB, and its product far longer than a fast transform."""


@repair(
    "dft-by-matmul",
    ops="DFT",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
spectrum (float[2, 8, 1] x) => (float[2, 5, 2] y) { y = DFT <onesided = 1, axis = 1> (x) }
""",
)
def dft_by_matmul(node: ir.Node, build: Builder) -> Replacement:
    """The discrete Fourier transform of a known length is a product with its cosines and one with its sines."""
    sizes = static_shape(node.inputs[0])
    if sizes is None or sizes[-1] not in (1, 2):
        raise NotApplicable("the shape of its input is not static")
    axis = attribute(node, "axis", 1)
    if build.opset >= 20:
        given = argument(node, 2)
        content = constant(given)
        if given is not None and content is None:
            raise NotApplicable("its axis is known at run time only")
        axis = -2 if content is None else int(content.reshape(()))
    axis %= len(sizes)
    onesided, inverse = bool(attribute(node, "onesided", 0)), bool(attribute(node, "inverse", 0))
    back = onesided and inverse
    length = _length(argument(node, 1), 2 * (sizes[axis] - 1) if back else sizes[axis])
    if onesided and sizes[-1] == (1 if inverse else 2):
        raise NotApplicable(
            "a one-sided transform of real numbers back" if back else "a one-sided transform of complex numbers"
        )
    assert node.inputs[0] is not None
    if back and sizes[axis] != length // 2 + 1:
        raise NotApplicable("a signal of another length than its spectrum, where runtimes differ")
    if back:
        return _signal(build, node.inputs[0], sizes, axis, length)
    return _transformed(build, node.inputs[0], sizes, axis, length, onesided, inverse)


@repair(
    "stft-by-matmul",
    ops="STFT",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
spectrogram (float[1, 64, 1] x, float[16] window) => (float[1, 7, 9, 2] y) <int64 step = {8}> {
  y = STFT <onesided = 1> (x, step, window)
}
""",
)
def stft_by_matmul(node: ir.Node, build: Builder) -> Replacement:
    """The frames of a signal are gathered and multiplied with the window; their Fourier transform is a product."""
    signal, window = node.inputs[0], argument(node, 2)
    sizes, step = static_shape(signal), constant(argument(node, 1))
    if sizes is None or len(sizes) != 3 or step is None:
        raise NotApplicable("its shape or its step is known at run time only")
    window_sizes = static_shape(window)
    length = _length(argument(node, 3), window_sizes[0] if window_sizes else 0)
    if (window is not None and window_sizes != [length]) or not 0 < length <= sizes[1]:
        raise NotApplicable("its window has another length than its frames")
    onesided = bool(attribute(node, "onesided", 1))
    if onesided and sizes[2] == 2:
        raise NotApplicable("a one-sided transform of complex numbers")
    starts = np.arange((sizes[1] - length) // int(step.reshape(())) + 1) * int(step.reshape(()))
    frames = build.op("Gather", signal, starts[:, None] + np.arange(length), axis=1)
    if window is not None:
        frames = build.op("Mul", frames, build.op("Unsqueeze", window, [1]))
    return _transformed(build, frames, [sizes[0], len(starts), length, sizes[2]], 2, length, onesided, False)


def _length(value: ir.Value | None, default: int) -> int:
    content = constant(value)
    if value is not None and content is None:
        raise NotApplicable("its length is known at run time only")
    length = default if content is None else int(content.reshape(()))
    if length > MAX_LENGTH:
        raise NotApplicable(f"a transform of length {length} is better computed otherwise")
    return length


def _transformed(
    build: Builder, x: ir.Value, sizes: list[int], axis: int, length: int, onesided: bool, inverse: bool
) -> ir.Value:
    """The transform along `axis` of x, whose last axis holds the real part and, if of size 2, the imaginary one.

    X[k] = sum over j of x[j] exp(-2 pi i j k / length); the inverse has the other sign and is divided by the length.
    What x has beyond `length` is cut off, what it lacks is 0.
    """
    kind = dtype(build.node.inputs[0])
    if kind is None or not kind.is_floating_point():
        raise NotApplicable(f"a transform of {kind}")
    used = np.arange(sizes[axis])[:, None]
    bins = np.arange(length // 2 + 1 if onesided else length)
    # Of j k only the rest modulo the length matters, which keeps the angle small and so exact.
    angles = 2 * np.pi * (used * bins % length) / length
    scale = (used < length) / (length if inverse else 1)
    cosines = (np.cos(angles) * scale).astype(kind.numpy())
    sines = (np.sin(angles) * scale * (-1 if inverse else 1)).astype(kind.numpy())
    others = [place for place in range(len(sizes) - 1) if place != axis]
    last = [*others, axis]
    back = [last.index(place) for place in range(len(last))]

    def part(index: int) -> ir.Value:
        return build.op("Transpose", build.op("Gather", x, np.int64(index), axis=-1), perm=last)

    real = part(0)
    outputs = [build.op("MatMul", real, cosines), build.op("MatMul", real, -sines)]
    if sizes[-1] == 2:
        imaginary = part(1)
        outputs[0] = build.op("Add", outputs[0], build.op("MatMul", imaginary, sines))
        outputs[1] = build.op("Add", outputs[1], build.op("MatMul", imaginary, cosines))
    halves = [build.op("Unsqueeze", build.op("Transpose", half, perm=back), [-1]) for half in outputs]
    return build.op("Concat", *halves, axis=-1)


def _signal(build: Builder, x: ir.Value, sizes: list[int], axis: int, length: int) -> ir.Value:
    """The real signal of which x, float[..., 2], has the lower half of the spectrum along `axis`; the last axis has size 1.

    What is missing above is the conjugate of what is given, so that all but the first and the middle count twice.
    """
    kind = dtype(build.node.inputs[0])
    if kind is None or not kind.is_floating_point():
        raise NotApplicable(f"a transform of {kind}")
    bins = np.arange(sizes[axis])[:, None]
    angles = 2 * np.pi * (bins * np.arange(length) % length) / length
    twice = np.where((bins == 0) | (2 * bins == length), 1, 2) / length
    # One product: real parts with cosines, imaginary ones with sines.
    matrix = np.stack([np.cos(angles) * twice, -np.sin(angles) * twice], axis=1).reshape(-1, length)
    others = [place for place in range(len(sizes) - 1) if place != axis]
    order = [*others, axis]
    parts = build.op("Transpose", x, perm=[*order, len(sizes) - 1])
    flat = build.op("Reshape", parts, np.asarray([*(sizes[place] for place in others), 2 * sizes[axis]]))
    signal = build.op("MatMul", flat, matrix.astype(kind.numpy()))
    signal = build.op("Transpose", signal, perm=[order.index(place) for place in range(len(order))])
    return build.op("Unsqueeze", signal, [-1])


@repair(
    "window-constant",
    ops=("BlackmanWindow", "HammingWindow", "HannWindow"),
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
window (int64 size) => (float[10] y) { y = HannWindow (size) }
""",
)
def window_constant(node: ir.Node, build: Builder) -> Replacement:
    """A window whose size is known, if only from the declared shape, is a constant."""
    size, declared = node.inputs[0], static_shape(node.outputs[0])
    content = constant(size)
    if content is None:
        if declared is None or size is None:
            raise NotApplicable("its size is known at run time only")
        content = np.array(declared[0], (dtype(size) or ir.DataType.INT64).numpy())
        build.assume(size, content)
    computed = evaluate(node, [content])
    if computed is None:
        raise NotApplicable("onnx's reference can't compute it")
    return build.constant(np.asarray(computed[0]))
