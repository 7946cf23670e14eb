"""What TVM's ONNX frontend writes at length, in short: Min and Max of stacked copies, guards against negative indices."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

REDUCED = {"relax.min": "minimum", "relax.max": "maximum"}
"""Reductions over a stack, and the elementwise operators that they stand for."""
MOVES = ("relax.reshape", "relax.strided_slice", "relax.expand_dims", "relax.squeeze", "relax.permute_dims",
         "relax.broadcast_to", "relax.split", "relax.concat", "relax.take")  # fmt: skip
"""Operators whose numbers are numbers of their first argument."""
SUMS = ("relax.add", "relax.multiply", "relax.divide", "relax.maximum", "relax.sum")
"""Operators that make no negative number of numbers that aren't."""


def simplify(module: Any) -> Any:
    """`module` with the same results from fewer operators, equal ones computed once."""
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    @mutator
    class Simplify(PyExprMutator):  # type: ignore[misc]
        def visit_call_(self, call: Any) -> Any:
            call = self.visit_expr_post_order(call)
            rule = RULES.get(getattr(call.op, "name", ""))
            shorter = rule(call, self.bound) if rule else None
            return call if shorter is None else self.builder_.normalize(shorter)

        def bound(self, expression: Any) -> Any:
            """What a variable was bound to; another expression itself."""
            while isinstance(expression, relax.Var):
                value = self.lookup_binding(expression)
                if value is None:
                    break
                expression = value
            return expression

    mutated = Simplify(module)
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            mutated.builder_.update_func(name, mutated.visit_expr(function))
    return relax.transform.EliminateCommonSubexpr()(mutated.builder_.get())


Bound = Callable[[Any], Any]


def _extreme(call: Any, bound: Bound) -> Any:
    """The least or largest of stacked tensors, each broadcast first: an elementwise operator broadcasts by itself."""
    from tvm import relax

    stack = bound(call.args[0])
    if not _is(stack, "relax.stack") or int(stack.attrs.axis) != 0:
        return None
    axes = call.attrs.axis
    if axes is None or [int(axis) for axis in axes] != [0] or call.attrs.keepdims:
        return None
    fields = bound(stack.args[0])
    parts = list(fields.fields) if isinstance(fields, relax.Tuple) else []
    if len(parts) < 2:
        return None
    sources = [producer.args[0] if _is(producer := bound(part), "relax.broadcast_to") else part for part in parts]
    join = getattr(relax.op, REDUCED[call.op.name])
    joined = reduce(join, sources)
    return joined if _same_shape(_shape_after(sources), call.ty.shape) else reduce(join, parts)


def _guard(call: Any, bound: Bound) -> Any:
    """`index < 0 ? index + size : index`, for an index that is never negative."""
    condition, other, index = call.args
    less, moved = bound(condition), bound(other)
    if not _is(less, "relax.less") or not _is(moved, "relax.add"):
        return None
    if not (less.args[0].same_as(index) and moved.args[0].same_as(index)):
        return None
    return index if _is_zero(bound(less.args[1])) and _never_negative(index, bound) else None


def _broadcast(call: Any, bound: Bound) -> Any:
    return call.args[0] if _same_shape(call.args[0].ty.shape, call.ty.shape) else None


def _slice(call: Any, bound: Bound) -> Any:
    """A slice of everything."""
    from tvm import relax

    steps = bound(call.args[4]) if len(call.args) > 4 else None
    if isinstance(steps, relax.Tuple) and any(int(step.value) != 1 for step in steps.fields):
        return None
    return _broadcast(call, bound)


RULES: dict[str, Callable[[Any, Bound], Any]] = {
    "relax.min": _extreme,
    "relax.max": _extreme,
    "relax.where": _guard,
    "relax.broadcast_to": _broadcast,
    "relax.strided_slice": _slice,
}
"""Relax operator to the shorter expression that stands for a call of it, None where none does."""


def _never_negative(expression: Any, bound: Bound) -> bool:
    """Is every number of an integer tensor at least 0, whatever the model's inputs?"""
    import tvm
    from tvm import relax

    value = bound(expression)
    if isinstance(value, tvm.ir.GenericConst):
        return bool((value.value.numpy() >= 0).all())
    if isinstance(value, relax.TupleGetItem):
        producer = bound(value.tuple_value)
        if _is(producer, "relax.topk"):
            return int(value.index) == 1
        return _is(producer, "relax.split") and _never_negative(producer.args[0], bound)
    if _is(value, "relax.argmax", "relax.argmin"):
        return True
    if _is(value, "relax.astype"):
        return str(value.args[0].ty.dtype) == "bool"
    if _is(value, *SUMS):
        return all(_never_negative(argument, bound) for argument in value.args)
    if _is(value, *MOVES):
        first = bound(value.args[0])
        parts = first.fields if isinstance(first, relax.Tuple) else [first]
        return all(_never_negative(part, bound) for part in parts)
    return False


def _is(expression: Any, *names: str) -> bool:
    from tvm import relax

    return isinstance(expression, relax.Call) and getattr(expression.op, "name", "") in names


def _is_zero(expression: Any) -> bool:
    import tvm

    return isinstance(expression, tvm.ir.GenericConst) and not expression.value.numpy().any()


def _shape_after(parts: list[Any]) -> list[int] | None:
    """The shape that tensors broadcast to; None where a size isn't known."""
    import numpy as np

    shapes = [_sizes(part.ty.shape) for part in parts]
    known = [shape for shape in shapes if shape is not None]
    return list(np.broadcast_shapes(*map(tuple, known))) if len(known) == len(shapes) else None


def _same_shape(left: Any, right: Any) -> bool:
    sizes = left if isinstance(left, list) else _sizes(left)
    return sizes is not None and sizes == _sizes(right)


def _sizes(shape: Any) -> list[int] | None:
    import tvm
    from tvm import relax

    if not isinstance(shape, relax.ShapeExpr) or not all(isinstance(size, tvm.tirx.IntImm) for size in shape):
        return None
    return [int(size) for size in shape]
