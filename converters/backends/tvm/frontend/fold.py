"""Constants folded with numpy.

TVM's FoldConstant compiles a kernel for every constant that it folds, so that it takes 50 s for a Faster R-CNN,
whose simplified graph leaves some 900 of them: reshaped biases, and a size for every index that could be negative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _permute(call: Any, array: Array) -> Array:
    axes = call.attrs.axes
    return np.transpose(array, None if axes is None else [int(axis) for axis in axes])


def _take(call: Any, array: Array, index: Array) -> Array:
    axis = call.attrs.axis
    return np.take(array, index, None if axis is None else int(axis), mode="wrap")


RULES: dict[str, Callable[..., Array]] = {
    "relax.reshape": lambda call, array, shape: array.reshape(shape),
    "relax.broadcast_to": lambda call, array, shape: np.broadcast_to(array, shape),
    "relax.permute_dims": _permute,
    "relax.shape_to_tensor": lambda call, shape: np.array(shape, np.int64),
    "relax.take": _take,
    "relax.where": lambda call, condition, yes, no: np.asarray(np.where(condition, yes, no)),
    "relax.isnan": lambda call, array: np.isnan(array),
    "relax.expand_dims": lambda call, array: np.expand_dims(array, tuple(int(axis) for axis in call.attrs.axis)),
    "relax.sqrt": lambda call, array: np.sqrt(array),
    "relax.add": lambda call, left, right: np.add(left, right),
    "relax.subtract": lambda call, left, right: np.subtract(left, right),
    "relax.multiply": lambda call, left, right: np.multiply(left, right),
    "relax.less": lambda call, left, right: np.less(left, right),
}
"""Relax operator to what it computes, given the call and its arguments: a constant is an array, a shape a tuple."""


def fold_constants(module: Any) -> Any:
    """`module` with the operators of `RULES` on constants done; what else there is to fold is left to TVM."""
    import tvm
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    shape_of = tvm.ir.Op.get("relax.shape_of")

    @mutator
    class Fold(PyExprMutator):  # type: ignore[misc]
        def visit_call_(self, call: Any) -> Any:
            call = self.visit_expr_post_order(call)
            rule = RULES.get(call.op.name) if isinstance(call.op, tvm.ir.Op) else None
            if rule is None:
                return call
            values = [self.value(argument) for argument in call.args]
            if any(value is None for value in values):
                return call
            array = rule(call, *values)
            return relax.const(np.ascontiguousarray(array).reshape(array.shape), str(array.dtype))

        def value(self, expression: Any) -> Any:
            """An array or a tuple of sizes; None for what isn't constant."""
            if isinstance(expression, relax.Var):
                expression = self.lookup_binding(expression)
            if isinstance(expression, relax.Call) and expression.op == shape_of:
                expression = expression.args[0].ty.shape
            if isinstance(expression, tvm.ir.GenericConst):
                return expression.value.numpy()
            if isinstance(expression, relax.ShapeExpr):
                static = all(isinstance(size, tvm.tirx.IntImm) for size in expression)
                return tuple(int(size) for size in expression) if static else None
            return None

    folder = Fold(module)
    for name, function in module.functions.items():
        if isinstance(function, relax.Function):
            folder.builder_.update_func(name, folder.visit_expr(function))
    return folder.builder_.get()
