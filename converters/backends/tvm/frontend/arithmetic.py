"""Where TVM's own arithmetic would lose what ONNX keeps: sums of half precision."""

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
