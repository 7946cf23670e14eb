"""Which ONNX node or which kernel a binding of a Relax function stands for, carried through TVM's passes.

A trace is the name of the bound variable, which passes keep when they write a new call in the place of an old one, and the
span of the call, which fusion keeps inside the functions that it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import tvm
from tvm import relax

NODE, LAYER = "onnx node", "layer"
"""Tables: nodes of the ONNX graph, and entries of a list of layers."""
MAIN = "main"


class Trace(NamedTuple):
    """Entry `number` of a table."""

    table: str
    number: int


def of(binding: Any) -> Trace | None:
    """What a binding, or a node of our own graph, stands for; None where nobody has said so."""
    table, _, number = str(binding.var.name).rpartition(" ")
    if table in (NODE, LAYER) and number.isdecimal():
        return Trace(table, int(number))
    return of_span(binding.value) if hasattr(binding, "value") else None


def numbers(bindings: Iterable[Any]) -> tuple[int, ...]:
    """The ONNX nodes that bindings stand for, in their order."""
    found = {trace.number for binding in bindings if (trace := of(binding)) and trace.table == NODE}
    return tuple(sorted(found))


def of_span(value: Any) -> Trace | None:
    """What an expression stands for by its span alone."""
    span = value.span
    if span is None or span.source_name.name not in (NODE, LAYER):
        return None
    return Trace(str(span.source_name.name), int(span.line))


def bindings(module: Any) -> list[Any]:
    """What `main` binds outside of branches, in its order."""
    body = module[MAIN].body
    return [binding for block in body.blocks for binding in block.bindings] if isinstance(body, relax.SeqExpr) else []


def spread(module: Any, origin: Callable[[Any], Trace | None] = of, default: Trace | None = None) -> dict[Any, Trace]:
    """Traces of the variables of `main`: a binding without one of its own is a part of what its first user computes;
    `default` is for one that nothing uses but the function's result.
    """
    found: dict[Any, Trace] = {}
    used: dict[Any, Trace] = {}
    for binding in reversed(bindings(module)):
        trace = origin(binding) or used.get(binding.var) or default
        if trace is None:
            continue
        found[binding.var] = trace
        if isinstance(binding, relax.VarBinding):
            used |= dict.fromkeys(relax.analysis.free_vars(binding.value), trace)
    return found


def mark(module: Any, traces: dict[Any, Trace]) -> Any:
    """The module with traces on what `main` binds; one with branches, or with sizes that the data decide on, comes back
    as it was.
    """
    old = module[MAIN]
    simple = (relax.Call, relax.Tuple, relax.TupleGetItem, relax.Var, relax.ShapeExpr, tvm.ir.GenericConst)
    bound = bindings(module)
    static = all(isinstance(binding, relax.VarBinding) and isinstance(binding.value, simple) for binding in bound)
    if not traces or not static:
        return module
    renamed: dict[Any, Any] = {}
    blocks = []
    for block in old.body.blocks:
        new = []
        for binding in block.bindings:
            trace = traces.get(binding.var)
            value = _renamed(binding.value, renamed)
            if trace is not None:
                value = marked(value, trace)
                renamed[binding.var] = type(binding.var)(f"{trace.table} {trace.number}", binding.var.ty)
            new.append(relax.VarBinding(renamed.get(binding.var, binding.var), value))
        blocks.append(type(block)(new))
    body = _typed(relax.SeqExpr(blocks, _renamed(old.body.body, renamed)), old.body)
    result = tvm.IRModule(module.functions, attrs=module.attrs)
    function = relax.Function(old.params, body, old.ret_ty, old.is_pure, old.attrs)
    result.update_func(result.get_global_var(MAIN), function)
    return result


def marked(value: Any, trace: Trace) -> Any:
    """A call with a trace as its span; another expression as it is."""
    if not isinstance(value, relax.Call):
        return value
    span = tvm.ir.Span(tvm.ir.SourceName(trace.table), trace.number, trace.number, 0, 0)
    return _typed(relax.Call(value.op, value.args, value.attrs, value.ty_args, span), value)


def _renamed(value: Any, renamed: dict[Any, Any]) -> Any:
    """An expression of the new variables."""
    if isinstance(value, relax.Var):
        return renamed.get(value, value)
    if isinstance(value, relax.Call):
        arguments = [_renamed(argument, renamed) for argument in value.args]
        return _typed(relax.Call(value.op, arguments, value.attrs, value.ty_args, value.span), value)
    if isinstance(value, relax.Tuple):
        return relax.Tuple([_renamed(field, renamed) for field in value.fields])
    if isinstance(value, relax.TupleGetItem):
        return relax.TupleGetItem(_renamed(value.tuple_value, renamed), value.index)
    return value


def _typed(new: Any, old: Any) -> Any:
    """A new call or sequence with the type of an old one: tuples know theirs."""
    relax.expr._update_type(new, old.ty)
    return new


def through(module: Any, rewrite: Callable[[Any], Any]) -> Any:
    """What `rewrite` makes of a module, for passes that write new calls: each is a part of what its user stands for."""
    result = rewrite(module)
    return mark(result, spread(result))


def calls(body: Any) -> Iterator[Any]:
    """The calls that a function's body binds, in their order, those in branches included."""
    if not isinstance(body, relax.SeqExpr):
        return
    for block in body.blocks:
        for binding in block.bindings:
            value = getattr(binding, "value", None)
            if isinstance(value, relax.If):
                yield from calls(value.true_branch)
                yield from calls(value.false_branch)
            elif isinstance(value, relax.Call):
                yield value
