"""Converters in the place of TVM's own, which lose what ONNX says of infinities, NaN, empty axes and types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

Usual = Callable[..., Any]
"""What TVM's converter makes of the node, or of other inputs of it."""
Converter = Callable[[Any, Sequence[Any], Mapping[str, Any], Usual], Any]
"""Given the block builder, the inputs (None for one left out) and the attributes."""


def _kind(tensor: Any) -> str:
    return str(tensor.ty.dtype)


def _floats(tensor: Any) -> bool:
    return isinstance(getattr(tensor, "ty", None), relax.TensorType) and _kind(tensor).startswith(("float", "bfloat"))


def _const(value: float, like: Any) -> Any:
    return relax.const(value, _kind(like))


def _array(expression: Any) -> np.ndarray[Any, Any] | None:
    return expression.value.numpy() if isinstance(expression, tvm.ir.GenericConst) else None


def with_axes(op_name: str, inputs: Sequence[Any]) -> list[Any]:
    """Axes given as a single number, in a list: PyTorch's exporter writes such, and ONNX Runtime and TensorRT read them."""
    given = list(inputs)
    if len(given) > 1 and (op_name in ("Squeeze", "Unsqueeze") or op_name.startswith("Reduce")):
        axes = _array(given[1])
        if axes is not None and axes.ndim == 0:
            given[1] = relax.const(axes.reshape(1))
    return given


def _thresholded_relu(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """Chosen, not multiplied by 0, which makes NaN of infinities."""
    x = inputs[0]
    kept = bb.normalize(relax.op.greater(x, _const(attrs.get("alpha", 1.0), x)))
    return relax.op.where(kept, x, _const(0.0, x))


def _clip(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """By operators that let NaN through; a bound that is NaN is none."""
    x = inputs[0]
    bounds = [attrs.get("min"), attrs.get("max")] if {"min", "max"} & set(attrs) else [*inputs[1:], None, None][:2]
    for bound, join, none in zip(bounds, (relax.op.maximum, relax.op.minimum), (-np.inf, np.inf), strict=True):
        if bound is None:
            continue
        limit = _const(float(bound), x) if isinstance(bound, int | float) else bound
        if _floats(limit):
            known = _array(limit)
            if known is None:
                limit = bb.normalize(relax.op.where(relax.op.isnan(limit), _const(none, x), limit))
            elif np.isnan(known).any():
                continue
        x = bb.normalize(join(x, limit))
    return x


def _log_sum_exp(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """Less the largest number where that is finite: infinity less itself is NaN."""
    x = inputs[0]
    axes = _axes(inputs, attrs)
    if not _floats(x) or (not axes and attrs.get("noop_with_empty_axes", 0)):
        return usual()
    most = bb.normalize(relax.op.max(x, axes, True))
    shift = bb.normalize(relax.op.where(relax.op.isfinite(most), most, _const(0.0, x)))
    powers = bb.normalize(relax.op.exp(bb.normalize(relax.op.subtract(x, shift))))
    total = bb.normalize(relax.op.log(bb.normalize(relax.op.sum(powers, axes, True))))
    result = bb.normalize(relax.op.add(total, shift))
    return result if attrs.get("keepdims", 1) else relax.op.squeeze(result, axes)


def _softplus(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """max(x, 0) + log(1 + t) of t = e^-|x|, plus what 1 + t has lost of t: without it all is 0 below -17, where the logarithm or
    the reciprocal of it is asked for."""
    x = inputs[0]
    if not _floats(x):
        return usual()
    one = _const(1.0, x)
    t = bb.normalize(relax.op.exp(bb.normalize(relax.op.negative(relax.op.abs(x)))))
    more = bb.normalize(relax.op.add(one, t))
    lost = bb.normalize(relax.op.subtract(t, bb.normalize(relax.op.subtract(more, one))))
    small = bb.normalize(relax.op.add(relax.op.log(more), bb.normalize(relax.op.divide(lost, more))))
    return relax.op.add(relax.op.maximum(x, _const(0.0, x)), small)


def _axes(inputs: Sequence[Any], attrs: Mapping[str, Any]) -> list[int] | None:
    """Of a reduction; None for all of them, and for axes that aren't constant, which TVM's converter refuses."""
    given = _array(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else attrs.get("axes")
    return [int(axis) for axis in given] if given is not None and len(given) else None


def _reduction(alone: Callable[[Any], Any]) -> Converter:
    """`alone` is what a reduction over no axes makes of each number."""

    def convert(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
        nothing = attrs.get("noop_with_empty_axes", 0) and _axes(inputs, attrs) is None
        return alone(inputs[0]) if nothing else usual()

    return convert


def _mean(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """Of integers the sum, divided and cut: TVM makes another type of it."""
    x, axes = inputs[0], _axes(inputs, attrs)
    if (
        _floats(x)
        or not isinstance(x.ty.shape, relax.ShapeExpr)
        or (axes is None and attrs.get("noop_with_empty_axes", 0))
    ):
        return usual()
    sizes = [x.ty.shape[axis] for axis in (axes or range(x.ty.ndim))]
    if not all(isinstance(size, tvm.tirx.IntImm) for size in sizes):
        return usual()
    count = relax.const(int(np.prod([int(size) for size in sizes])), "int64")
    wide = bb.normalize(relax.op.astype(x, "int64"))
    total = bb.normalize(relax.op.sum(wide, axes, bool(attrs.get("keepdims", 1))))
    return relax.op.astype(bb.normalize(relax.op.divide(total, count)), _kind(x))


def _cast(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """Floats to wide integers. ONNX leaves open what becomes of numbers that don't fit: here what x86 processors make of
    them, the least integer, and of negative ones an unsigned integer that is as far from 2^64.
    """
    x = inputs[0]
    to = str(tvm.DataType(np.dtype(_numpy_type(attrs["to"])).name)) if attrs["to"] in WIDE else ""
    if not to or not _floats(x) or isinstance(x, tvm.ir.GenericConst):
        return usual()
    if _kind(x) not in ("float32", "float64"):
        x = bb.normalize(relax.op.astype(x, "float32"))
    if to == "uint64":
        half = _const(2.0**63, x)
        large = bb.normalize(relax.op.greater_equal(x, half))
        less = bb.normalize(relax.op.where(large, relax.op.subtract(x, half), x))
        low = bb.normalize(relax.op.astype(_within(bb, less, "int64"), to))
        return relax.op.where(large, relax.op.add(low, relax.const(np.array(2**63, to), to)), low)
    return _within(bb, x, to)


def _within(bb: Any, x: Any, to: str) -> Any:
    """A signed integer of each number, the least one where it doesn't fit."""
    least = int(np.iinfo(to).min)
    low, high = (bb.normalize(compare(x, _const(float(bound), x))) for compare, bound in
                 ((relax.op.greater_equal, least), (relax.op.less, -least)))  # fmt: skip
    fits = bb.normalize(relax.op.logical_and(low, high))
    whole = bb.normalize(relax.op.astype(relax.op.where(fits, x, _const(0.0, x)), to))
    return bb.normalize(relax.op.where(fits, whole, relax.const(np.array(least, to), to)))


def _numpy_type(number: int) -> Any:
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(number)


def _dynamic_quantize(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """A tensor of zeros has the scale 1."""
    x = inputs[0]
    zero, most = _const(0.0, x), _const(255.0, x)
    high = bb.normalize(relax.op.maximum(zero, relax.op.max(x)))
    low = bb.normalize(relax.op.minimum(zero, relax.op.min(x)))
    spread = bb.normalize(relax.op.divide(relax.op.subtract(high, low), most))
    scale = bb.normalize(relax.op.where(relax.op.equal(high, low), _const(1.0, x), spread))
    place = bb.normalize(relax.op.subtract(zero, relax.op.divide(low, scale)))
    limited = bb.normalize(relax.op.minimum(relax.op.maximum(place, zero), most))
    limited = bb.normalize(relax.op.where(relax.op.isnan(place), most, limited))  # infinite on both sides
    point = bb.normalize(relax.op.astype(relax.op.round(limited), "uint8"))
    return relax.Tuple([bb.normalize(relax.op.quantize(x, scale, point, axis=0, out_dtype="uint8")), scale, point])


def _gemm(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """What is added 0 times isn't added, however large it is."""
    return usual() if attrs.get("beta", 1.0) else usual([*inputs[:2], None])


def _pad(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """What negative pads cut off is cut off first, so that what is wrapped or mirrored is what is left."""
    x, pads = inputs[0], _array(inputs[1]) if len(inputs) > 1 else None
    if pads is None or (pads >= 0).all():
        return usual()
    before, after = np.split(pads, 2)
    given = _array(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else None
    axes = [int(axis) for axis in (range(len(before)) if given is None else given)]
    sizes = [int(x.ty.shape[axis]) for axis in axes]
    starts = [int(max(0, -more)) for more in before]
    ends = [size - int(max(0, -more)) for size, more in zip(sizes, after, strict=True)]
    cut = bb.normalize(relax.op.strided_slice(x, axes, starts, ends))
    return usual([cut, relax.const(np.maximum(pads, 0)), *inputs[2:]])


def _suppression(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """A box goes that overlaps by more than the threshold, 0 where there is none: TVM takes 0.5, and drops it at the
    threshold already, and no box at a threshold of 0. Without a threshold for them all scores count.
    """
    boxes, scores, most, overlap, least = [*inputs, None, None, None][:5]
    limit = np.zeros(1, np.float32) if overlap is None else _array(overlap)
    if limit is None:
        return usual()
    after = np.nextafter(limit.astype(np.float32), np.float32(np.inf))
    bound = relax.const(np.full(1, -np.inf, np.float32)) if least is None else least
    return usual([boxes, scores, most, relax.const(after), bound])


def _equal(bb: Any, inputs: Sequence[Any], attrs: Mapping[str, Any], usual: Usual) -> Any:
    """Truth values as numbers: LLVM is asked to compare them as floats."""
    if _kind(inputs[0]) != "bool":
        return usual()
    return relax.op.equal(*(bb.normalize(relax.op.astype(each, "uint8")) for each in inputs))


WIDE = (6, 7, 13)
"""int32, int64 and uint64, by ONNX's numbers."""
CONVERTERS: dict[str, Converter] = {
    "Cast": _cast,
    "Clip": _clip,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "Equal": _equal,
    "Gemm": _gemm,
    "NonMaxSuppression": _suppression,
    "Pad": _pad,
    "ReduceL1": _reduction(relax.op.abs),
    "ReduceL2": _reduction(relax.op.abs),
    "ReduceLogSum": _reduction(relax.op.log),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMean": _mean,
    "ReduceSumSquare": _reduction(relax.op.square),
    "Softplus": _softplus,
    "ThresholdedRelu": _thresholded_relu,
}
