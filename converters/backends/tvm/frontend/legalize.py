"""Lowerings in the place of TVM's own: NaN and infinities come out as ONNX, NumPy and PyTorch have them.

TVM's Max, Min and Relu lose NaN on one side, its pools and reductions begin at the least finite number, its ArgMax
answers -1 where nothing is larger than the least one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from tvm import relax, te, tirx, topi

FLOATS = ("float", "bfloat")


def legalizations() -> dict[str, Any]:
    """By operator."""
    return {
        "relax.argmax": _place(_larger),
        "relax.argmin": _place(_smaller),
        "relax.atanh": _elementwise(_atanh),
        "relax.equal": _of_itself(_is_number),
        "relax.greater_equal": _of_itself(_is_number),
        "relax.less_equal": _of_itself(_is_number),
        "relax.logical_not": _elementwise(_not),
        "relax.max": _reduce(_larger, topi.max),
        "relax.maximum": _binary(_larger, topi.maximum),
        "relax.min": _reduce(_smaller, topi.min),
        "relax.minimum": _binary(_smaller, topi.minimum),
        "relax.nn.max_pool1d": _pool,
        "relax.nn.max_pool2d": _pool,
        "relax.nn.max_pool3d": _pool,
        "relax.nn.relu": _elementwise(_relu),
        "relax.quantize": _quantize,
        "relax.sign": _elementwise(_sign),
        "relax.topk": _topk,
    }


Better = Callable[[Any, Any], Any]
"""Whether the first of two numbers comes before the second."""


def _larger(a: Any, b: Any) -> Any:
    return a > b


def _smaller(a: Any, b: Any) -> Any:
    return a < b


def _kind(x: Any) -> str:
    """The dtype of a tensor, or of an expression for one of its numbers."""
    return str(x.dtype if isinstance(x, te.Tensor) else getattr(x.ty, "dtype", x.ty))


def _is_float(x: Any) -> bool:
    return _kind(x).startswith(FLOATS)


def _nan(x: Any) -> Any:
    """Is it? TVM has no such test for bfloat16."""
    return tirx.isnan(x.astype("float32") if _kind(x) == "bfloat16" else x)


def _pick(better: Better, a: Any, b: Any) -> Any:
    """The better of two, NaN where one is."""
    first = better(a, b)
    return tirx.Select(tirx.Or(first, _nan(a)) if _is_float(a) else first, a, b)


def _worst(better: Better, dtype: Any) -> Any:
    if str(dtype).startswith(FLOATS):
        return tirx.const(float("-inf") if better is _larger else float("inf"), dtype)
    if str(dtype) == "bool":
        return tirx.const(better is not _larger, dtype)
    dtype = str(dtype)
    return tirx.min_value(dtype) if better is _larger else tirx.max_value(dtype)


@cache
def _extreme(better: Better) -> Any:
    return te.comm_reducer(lambda a, b: _pick(better, a, b), lambda kind: _worst(better, kind), name="extreme")


LARGEST = te.comm_reducer(lambda a, b: tirx.Select(b > a, b, a), lambda kind: _worst(_larger, kind), name="largest")
"""Of a window, for which NaN is no number: so say ONNX's reference and ONNX Runtime, other than PyTorch."""


def _relu(x: Any) -> Any:
    zero = tirx.const(0, _kind(x))
    return tirx.Select(x < zero, zero, x)


def _not(x: Any) -> Any:
    """By its bit: TVM makes `a < b` of `not a >= b`, and an ordered `a != b` of `not a == b`, which are false of NaN."""
    return (x.astype("int8") ^ tirx.const(1, "int8")).astype("bool")


def _is_number(x: Any) -> Any:
    return _not(_nan(x))


def _sign(x: Any) -> Any:
    kind = _kind(x)
    zero, one = tirx.const(0, kind), tirx.const(1, kind)
    below = zero if kind.startswith("uint") else tirx.const(-1, kind)
    return tirx.Select(x > zero, one, tirx.Select(x < zero, below, x))


def _atanh(x: Any) -> Any:
    """By log1p, which keeps the digits of small numbers."""
    one, two, half = (tirx.const(number, _kind(x)) for number in (1, 2, 0.5))
    return tirx.log1p(two * x / (one - x)) * half


def _elementwise(step: Callable[[Any], Any]) -> Any:
    def compute(data: Any) -> Any:
        return te.compute(data.shape, lambda *place: step(data(*place)), name="step")

    return lambda builder, call: builder.call_te(compute, call.args[0], primfunc_name_hint=_name(call))


def _of_itself(step: Callable[[Any], Any]) -> Any:
    """Of a tensor and itself: TVM knows `x == x` before it knows x, which may be NaN."""

    def legalize(builder: Any, call: Any) -> Any:
        one, other = call.args
        if one.same_as(other) and _is_float(one):
            return _elementwise(step)(builder, call)
        return call.op.get_attr("FLegalize")(builder, call)

    return legalize


def _name(call: Any) -> str:
    return str(call.op.name.split(".")[-1])


def _binary(better: Better, usual: Any) -> Any:
    def legalize(builder: Any, call: Any) -> Any:
        if not all(isinstance(part.ty, relax.TensorType) for part in call.args) or not _is_float(call):
            return builder.call_te(usual, *call.args, primfunc_name_hint=_name(call))
        shape = call.ty.shape

        def compute(left: Any, right: Any) -> Any:
            return te.compute(
                list(shape), lambda *place: _pick(better, _at(left, place), _at(right, place)), name="extreme"
            )

        return builder.call_te(compute, *call.args, primfunc_name_hint=_name(call))

    return legalize


def _at(tensor: Any, place: Sequence[Any]) -> Any:
    """The number of a tensor that is broadcast."""
    own = place[len(place) - len(tensor.shape) :]
    return tensor(*(0 if _one(size) else index for size, index in zip(tensor.shape, own, strict=True)))


def _one(size: Any) -> bool:
    return isinstance(size, tirx.IntImm) and int(size) == 1


def _reduce(better: Better, usual: Any) -> Any:
    def compute(data: Any, axes: list[int], keepdims: bool) -> Any:
        """`data` reduced along `axes`."""
        reduced = {axis: te.reduce_axis((0, data.shape[axis]), name=f"k{axis}") for axis in axes}
        shape, element = _around(data, reduced, keepdims)
        return te.compute(
            shape, lambda *place: _extreme(better)(data(*element(place)), axis=list(reduced.values())), name="extreme"
        )

    def legalize(builder: Any, call: Any) -> Any:
        data, axis, keepdims = call.args[0], call.attrs.axis, bool(call.attrs.keepdims)
        rank = data.ty.ndim
        axes = list(range(rank)) if axis is None else sorted({int(a) % rank for a in axis})
        if not _is_float(data) or not axes:
            return builder.call_te(usual, data, axis, keepdims)
        return builder.call_te(compute, data, axes, keepdims, primfunc_name_hint="extreme")

    return legalize


def _around(data: Any, reduced: dict[int, Any], keepdims: bool) -> tuple[list[Any], Callable[[Any], list[Any]]]:
    """The shape that a reduction leaves, and the place in `data` that a place in it and the reduced axes are."""
    kept = [axis for axis in range(len(data.shape)) if axis not in reduced]
    shape = [1 if axis in reduced else data.shape[axis] for axis in range(len(data.shape))]

    def element(place: Any) -> list[Any]:
        outer = dict(zip(range(len(data.shape)) if keepdims else kept, place, strict=True))
        return [reduced[axis] if axis in reduced else outer[axis] for axis in range(len(data.shape))]

    return (shape if keepdims else [data.shape[axis] for axis in kept]), element


def _place(better: Better) -> Any:
    """The first place of the best number, or of the first NaN."""

    def combine(a: Any, b: Any) -> Any:
        """Pairs of a place and its number. The neutral one has the last place that there is."""
        first = tirx.Or(better(a[1], b[1]), tirx.And(tirx.EQ(a[1], b[1]), a[0] < b[0]))
        return tirx.Select(first, a[0], b[0]), tirx.Select(first, a[1], b[1])

    def neutral(place: Any, kind: Any) -> Any:
        return tirx.max_value(place), _worst(better, kind)

    reducer = te.comm_reducer(combine, neutral, name="place")

    def compute(data: Any, axis: int, keepdims: bool) -> Any:
        along = te.reduce_axis((0, data.shape[axis]), name="k")
        shape, element = _around(data, {axis: along}, keepdims)
        places, _ = te.compute(
            shape,
            lambda *place: reducer((tirx.Cast("int64", along.var), _key(better, data(*element(place)))), axis=[along]),
            name="place",
        )
        return te.compute(shape, lambda *place: places(*place), name="found")

    def legalize(builder: Any, call: Any) -> Any:
        data, axis = call.args[0], call.attrs.axis
        if axis is None:
            data, axis = builder.normalize(relax.op.flatten(data)), 0
        rank = data.ty.ndim
        keepdims = bool(call.attrs.keepdims) and call.attrs.axis is not None
        return builder.call_te(compute, data, int(axis) % rank, keepdims, primfunc_name_hint=_name(call))

    return legalize


def _key(better: Better, x: Any) -> Any:
    """An integer in the order of the floats, the best of all for NaN."""
    if not _is_float(x):
        return x
    kind = "float64" if _kind(x) == "float64" else "float32"
    whole, most, infinite = ("int64", 2**63 - 1, 0x7FF << 52) if kind == "float64" else ("int32", 2**31 - 1, 0xFF << 23)
    bits = tirx.reinterpret(whole, x if _kind(x) == kind else x.astype(kind))
    size = bits & tirx.const(most, whole)
    ordered = tirx.Select(bits < tirx.const(0, whole), -size, size)
    best = tirx.const(most if better is _larger else -most - 1, whole)
    return tirx.Select(size > tirx.const(infinite, whole), best, ordered)


def _topk(builder: Any, call: Any) -> Any:
    """By integers in the order of the floats: a sort of NaN has no order."""
    attrs, data = call.attrs, call.args[0]

    def compute(data: Any) -> Any:
        axis, k = int(attrs.axis) % len(data.shape), int(attrs.k)
        keys = te.compute(data.shape, lambda *place: _key(_larger, data(*place)), name="keys")
        _, places = topi.topk(keys, k, axis, "both", not attrs.largest, str(attrs.dtype))
        values = te.compute(
            places.shape,
            lambda *place: data(*(places(*place) if number == axis else at for number, at in enumerate(place))),
            name="values",
        )
        return [values, places]

    if not _is_float(data) or str(attrs.ret_type) != "both":
        return call
    return builder.call_te(compute, data, primfunc_name_hint="topk")


def _pool(builder: Any, call: Any) -> Any:
    """A maximum over windows, what is beyond the tensor left out."""
    attrs, rank = call.attrs, call.args[0].ty.ndim - 2
    sizes, strides, gaps = (list(map(int, sizes)) for sizes in (attrs.pool_size, attrs.strides, attrs.dilation))
    before = list(map(int, attrs.padding))[:rank]
    shape = list(call.ty.shape)

    def compute(data: Any) -> Any:
        worst = _worst(_larger, data.dtype)
        reach = [(out - 1) * stride + (size - 1) * gap + 1 - given - first for out, stride, size, gap, given, first in
                 zip(shape[2:], strides, sizes, gaps, data.shape[2:], before, strict=True)]  # fmt: skip
        after = [tirx.max(0, more) for more in reach]
        padded = topi.nn.pad(data, [0, 0, *before], [0, 0, *after], worst) if any(before) or _any(after) else data
        taps = [te.reduce_axis((0, size), name=f"k{axis}") for axis, size in enumerate(sizes)]

        def element(image: Any, channel: Any, *place: Any) -> Any:
            at = [i * stride + tap * gap for i, stride, tap, gap in zip(place, strides, taps, gaps, strict=True)]
            return LARGEST(padded(image, channel, *at), axis=taps)

        return te.compute(shape, element, name="pool")

    return builder.call_te(compute, call.args[0], primfunc_name_hint=_name(call))


def _any(sizes: Sequence[Any]) -> bool:
    return not all(isinstance(size, tirx.IntImm) and int(size) == 0 for size in sizes)


def _quantize(builder: Any, call: Any) -> Any:
    """As TVM has it, with the least integer of NaN."""
    kind, axis = str(call.attrs.out_dtype), int(call.attrs.axis)

    def compute(data: Any, scale: Any, zero: Any) -> Any:
        def of(parameter: Any, place: Sequence[Any]) -> Any:
            alone = all(map(_one, parameter.shape))
            return parameter(*(0 for _ in parameter.shape)) if alone else parameter(place[axis])

        def element(*place: Any) -> Any:
            scaled = data(*place) / of(scale, place)
            whole = (tirx.nearbyint(scaled) if "int" in kind else scaled) + of(zero, place).astype(_kind(data))
            low, high = (bound(kind).astype(_kind(data)) for bound in (tirx.min_value, tirx.max_value))
            # NaN is not above `low`, which is then the maximum. Written once: a chain of such kernels is one expression,
            # in which a Select's two would be doubled at each.
            return tirx.min(tirx.max(whole, low), high).astype(kind)

        return te.compute(data.shape, element, name="quantized")

    return builder.call_te(compute, *call.args, primfunc_name_hint="quantize")
