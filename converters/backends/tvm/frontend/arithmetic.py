"""Where TVM's own arithmetic would lose what ONNX keeps: sums of half precision, and extremes of infinities."""

from __future__ import annotations

from typing import Any

CONVOLUTION = ("strides", "padding", "dilation", "groups", "data_layout", "kernel_layout", "out_layout")
WIDENED: dict[str, tuple[str, ...]] = {
    "relax.matmul": (),
    "relax.nn.conv1d": CONVOLUTION,
    "relax.nn.conv2d": CONVOLUTION,
    "relax.nn.conv3d": CONVOLUTION,
}
"""Sums of products, with their attributes beside out_dtype.

Of half-precision ones TVM keeps the running sum in half precision, which drops small terms.
"""
SUMS = ("relax.sum", "relax.mean", "relax.variance", "relax.nn.softmax", "relax.nn.log_softmax", "relax.nn.layer_norm",
        "relax.nn.rms_norm", "relax.nn.group_norm")  # fmt: skip
"""Sums of one tensor: what holds for products holds for them."""
HALF = ("float16", "bfloat16")


def widen_sums(module: Any) -> Any:
    """`module` with half-precision tensors summed in float32 and the sum rounded once, as other runtimes do."""
    import tvm
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    @mutator
    class Widen(PyExprMutator):  # type: ignore[misc]
        def visit_call_(self, call: Any) -> Any:
            call = self.visit_expr_post_order(call)
            if not isinstance(call.op, tvm.ir.Op) or call.op.name not in (*WIDENED, *SUMS):
                return call
            kinds = {str(argument.ty.dtype) for argument in (*call.args, call)}
            kind = kinds.pop()
            if kinds or kind not in HALF:
                return call
            if call.op.name in SUMS:
                wide = [self.builder_.normalize(relax.op.astype(argument, "float32")) for argument in call.args]
                total = self.builder_.normalize(relax.Call(call.op, wide, call.attrs))
                return relax.op.astype(total, kind)
            attributes = {name: getattr(call.attrs, name) for name in WIDENED[call.op.name]}
            make = getattr(relax.op if call.op.name == "relax.matmul" else relax.op.nn, call.op.name.split(".")[-1])
            product = self.builder_.normalize(make(*call.args, **attributes, out_dtype="float32"))
            return relax.op.astype(product, kind)

    widener = Widen(module)
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            widener.builder_.update_func(name, widener.visit_expr(function))
    return widener.builder_.get()


def legalizations() -> dict[str, Any]:
    """Lowerings in the place of TVM's own, by operator: the largest of nothing but -inf is -inf, not the least float."""
    from tvm import te, tirx, topi

    def extreme(pick: Any, usual: Any, sign: float) -> Any:
        def reducer(kind: str) -> Any:
            return te.comm_reducer(pick, lambda _: tirx.const(sign * float("inf"), kind), name="extreme")

        def compute(data: Any, axes: list[int], keepdims: bool) -> Any:
            """`data` reduced along `axes`."""
            reduced = {axis: te.reduce_axis((0, data.shape[axis]), name=f"k{axis}") for axis in axes}
            kept = [axis for axis in range(len(data.shape)) if axis not in reduced]
            shape = [1 if axis in reduced else data.shape[axis] for axis in range(len(data.shape))]
            if not keepdims:
                shape = [data.shape[axis] for axis in kept]

            def element(*place: Any) -> Any:
                outer = dict(zip(range(len(data.shape)) if keepdims else kept, place, strict=True))
                at = [reduced[axis] if axis in reduced else outer[axis] for axis in range(len(data.shape))]
                return reducer(data.dtype)(data(*at), axis=list(reduced.values()))

            return te.compute(shape, element, name="extreme")

        def legalize(builder: Any, call: Any) -> Any:
            data, axis, keepdims = call.args[0], call.attrs.axis, bool(call.attrs.keepdims)
            rank = data.ty.ndim
            axes = list(range(rank)) if axis is None else sorted({int(a) % rank for a in axis})
            if not str(data.ty.dtype).startswith(("float", "bfloat")) or not axes:
                return builder.call_te(usual, data, axis, keepdims)
            return builder.call_te(compute, data, axes, keepdims, primfunc_name_hint="extreme")

        return legalize

    return {
        "relax.max": extreme(lambda a, b: tirx.max(a, b), topi.max, -1.0),
        "relax.min": extreme(lambda a, b: tirx.min(a, b), topi.min, 1.0),
    }
