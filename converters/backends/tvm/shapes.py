"""Several modules of one network, each for its own input shapes, in one: its `main` looks at the shapes and picks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import function
from enginesmith.converters.core.inputs import written

MAIN = "main"


def join(modules: Sequence[Any], shapes: Sequence[Mapping[str, Sequence[int]]]) -> Any:
    """One module of lowered `modules`, whose `main` takes any of `shapes`, in the order of the graph's inputs.

    Equal kernels are kept once, and so are equal weights, by TVM's own means; the first module's kernels keep their names.
    """
    builder = relax.BlockBuilder()
    entries = []
    for number, module in enumerate(modules):
        others = [(var, callee) for var, callee in module.functions.items() if var.name_hint != MAIN]
        names = {var: builder.add_func(_unnamed(callee), var.name_hint) for var, callee in others}
        renamed = _Renamed(names)
        for var, callee in others:
            if isinstance(callee, relax.Function):
                builder.update_func(names[var], renamed.visit_expr(_unnamed(callee)))
        entry = renamed.visit_expr(_unnamed(module[MAIN]))
        entries.append((builder.add_func(entry, f"{MAIN}_{number}"), entry))
    given = zip(*(entry.params for _, entry in entries), strict=True)
    params = [relax.Var(same[0].name, _any_of([param.ty for param in same])) for same in given]
    refuse = builder.add_func(_refusal(shapes), "refuse")
    with builder.function(MAIN, params, pure=False):
        builder.emit_func_output(builder.emit(_choice(entries, params, refuse)))
    return builder.get()


def _refusal(shapes: Sequence[Mapping[str, Sequence[int]]]) -> Any:
    """A kernel that ends the run. Relax's own assertion is a function in Python, which isn't there with the runtime alone."""
    known = "; ".join(map(written, shapes))

    def body() -> None:
        with T.Assert(tirx.const(False, "bool"), f"no module for these shapes, only for {known}"):
            T.evaluate(0)

    return _unnamed(function("refuse", body))


def _choice(entries: Sequence[tuple[Any, Any]], params: Sequence[Any], refuse: Any) -> Any:
    """The call of the first entry that takes shapes such as those of `params`; where none does, the call of `refuse`."""
    (name, entry), *rest = entries
    fits = [
        size == wanted
        for param, target in zip(params, entry.params, strict=True)
        for size, wanted in zip(param.ty.shape, target.ty.shape, strict=True)
        if not isinstance(size, tirx.IntImm)
    ]
    call = _call(name, entry, params)
    other = _choice(rest, params, refuse) if rest else _call(name, entry, params, refuse)
    return relax.If(relax.prim_value(reduce(tirx.And, fits)), call, other)


def _call(name: Any, entry: Any, params: Sequence[Any], refuse: Any = None) -> Any:
    """A call with the shapes that the entry states, after that of `refuse`, which ends the run."""
    bindings: list[Any] = []
    if refuse is not None:
        bindings.append(relax.VarBinding(relax.Var("refused", relax.TupleType([])), relax.Call(refuse, [])))
    fixed = [relax.Var(target.name, target.ty) for target in entry.params]
    bindings += [relax.MatchCast(var, param, var.ty) for var, param in zip(fixed, params, strict=True)]
    result = relax.Var("result", entry.ret_ty)
    bindings.append(relax.VarBinding(result, relax.Call(name, fixed)))
    return relax.SeqExpr([relax.BindingBlock(bindings)], result)


def _any_of(kinds: Sequence[Any]) -> Any:
    """The type of tensors that differ in some sizes, which get names."""
    sizes = [
        sizes[0] if all(int(size) == int(sizes[0]) for size in sizes) else tirx.Var("size", "int64")
        for sizes in zip(*(kind.shape for kind in kinds), strict=True)
    ]
    return relax.TensorType(sizes, kinds[0].dtype)


def _unnamed(callee: Any) -> Any:
    """Without the name that it has outside, which another one may have taken."""
    return callee.without_attr("global_symbol")


@mutator
class _Renamed(PyExprMutator):  # type: ignore[misc]
    """Puts other functions in the place of those called."""

    def __init__(self, names: Mapping[Any, Any]) -> None:
        super().__init__()
        self.names = names

    def visit_global_var_(self, var: Any) -> Any:
        return self.names.get(var, var)
