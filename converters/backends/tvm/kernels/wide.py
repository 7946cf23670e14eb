"""Graphs of 16-bit floats computed in float32: kernels read and write nothing narrower, and no processor here adds in it.

The rounding to 16 bits between operators is left out, as ONNX Runtime's CPU kernels leave it out: results are closer to
the float32 graph's than a computation in 16 bits is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from enginesmith.converters.backends.tvm.kernels import traces
from enginesmith.converters.backends.tvm.kernels.graph import called
from enginesmith.converters.backends.tvm.kernels.steps import BINARY, CLAMPS, UNARY

HALF = ("float16", "bfloat16")
SAME = frozenset((
    *UNARY, *BINARY, *CLAMPS, "clip", "leakyrelu", "conv2d", "conv2d_transpose", "matmul", "max_pool2d", "avg_pool2d",
    "adaptive_avg_pool2d", "mean", "concat", "resize2d", "softmax", "layer_norm", "group_norm", "instance_norm",
    "reshape", "permute_dims", "expand_dims", "squeeze", "broadcast_to", "strided_slice",
))  # fmt: skip
"""Operators that compute the same in float32, by the name without `relax.` and `nn.`."""


def in_float32(module: Any) -> Any:
    """`module` with what `SAME` holds done in float32. Inputs, results and other operators keep their 16 bits."""
    if not any(_dtype(binding.var) in HALF for binding in traces.bindings(module)):
        return module
    return traces.through(module, _widened)


def _widened(module: Any) -> Any:
    builder = _Wider(module)
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            builder.results = _results(function)
            builder.builder_.update_func(name, builder.visit_expr(function))
    return relax.transform.CanonicalizeBindings()(builder.builder_.get())


def _results(function: Any) -> set[Any]:
    """The expressions whose values leave their block."""
    blocks = getattr(function.body, "blocks", [])
    bindings = [binding for block in blocks for binding in block.bindings]
    return {one.value for one in bindings if not isinstance(one.var, relax.DataflowVar) and hasattr(one, "value")}


@mutator
class _Wider(PyExprMutator):  # type: ignore[misc]
    results: set[Any]

    def visit_call_(self, call: Any) -> Any:
        name = called(call).rpartition(".")[2] if isinstance(call.op, tvm.ir.Op) else ""
        half = _dtype(call) in HALF
        if not (half or any(_dtype(argument) in HALF for argument in call.args)):
            return self.visit_expr_post_order(call)
        new = self._wide(call, name)
        if new is None:
            new = relax.Call(call.op, [self._narrow(argument) for argument in call.args], call.attrs, call.ty_args)
        new = self.builder_.normalize(new)
        if half and call in self.results and _dtype(new) != _dtype(call):
            new = self.builder_.normalize(relax.op.astype(new, _dtype(call)))
        return new

    def visit_tuple_(self, several: Any) -> Any:
        return self._narrow(several) if several in self.results else self.visit_expr_post_order(several)

    def _wide(self, call: Any, name: str) -> Any:
        """The same call in float32; None where it keeps its types."""
        if name == "astype":
            source = self._widened(call.args[0])
            kind = "float32" if _dtype(call) in HALF else _dtype(call)
            return source if _dtype(source) == kind else relax.op.astype(source, kind)
        if name in ("quantize", "dequantize"):
            source, scale, zero = map(self._widened, call.args)
            kind = "float32" if name == "dequantize" else call.attrs.out_dtype
            return getattr(relax.op, name)(source, scale, zero, int(call.attrs.axis), kind)
        if name not in SAME:
            return None
        if getattr(call.op, "name", "") == "relax.call_tir":  # the frontend has lowered it already
            return getattr(relax.op, name)(*map(self._widened, call.args[1]))
        if str(getattr(call.attrs, "out_dtype", "") or "") in HALF:
            return None
        return relax.Call(call.op, [self._widened(argument) for argument in call.args], call.attrs, call.ty_args)

    def _widened(self, argument: Any) -> Any:
        if isinstance(argument, relax.Tuple):
            return relax.Tuple([self._widened(field) for field in argument.fields])
        if isinstance(argument, tvm.ir.GenericConst) and _dtype(argument) in HALF:
            return relax.const(np.asarray(argument.value.numpy()).astype(np.float32))
        new = self.visit_expr(argument)
        if _dtype(new) not in HALF:
            return new
        return self.builder_.emit(relax.op.astype(new, "float32"))

    def _narrow(self, argument: Any) -> Any:
        """An argument of the type that it had."""
        if isinstance(argument, relax.Tuple):
            return relax.Tuple([self._narrow(field) for field in argument.fields])
        new = self.visit_expr(argument)
        if _dtype(argument) in HALF and _dtype(new) != _dtype(argument):
            return self.builder_.emit(relax.op.astype(new, _dtype(argument)))
        return new


def _dtype(expression: Any) -> str:
    """Of a tensor; of a tuple, the first half-precision one in it; else empty."""
    kind = getattr(expression, "ty", None)
    if isinstance(kind, relax.TupleType):
        return next((str(one.dtype) for one in kind.fields if str(getattr(one, "dtype", "")) in HALF), "")
    return str(kind.dtype) if isinstance(kind, relax.TensorType) else ""
