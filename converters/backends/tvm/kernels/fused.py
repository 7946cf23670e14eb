"""What TVM's fusion has made of a function: which of its bindings each call computes now.

Fusion builds one function for all groups of operators that are alike, so that the function itself doesn't tell one call from
another. Hence both functions are gone through side by side: a call of the same kernel on the same values is the same call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Any

import tvm
from tvm import relax

from enginesmith.converters.backends.tvm.kernels import traces


def traced_calls(before: Any, after: Any) -> Iterator[tuple[Any, list[traces.Trace]]]:
    """The calls of `main` after fusion, in their order, those in branches included, with the traces of what each computes."""
    found = _Values(before, after).found
    for call in traces.calls(after[traces.MAIN].body):
        yield call, found.get(call, [])


class _Values:
    """Follows values through `main` of both modules. `found` has the traces of each call."""

    def __init__(self, before: Any, after: Any) -> None:
        self.after = after
        self.found: dict[Any, list[traces.Trace]] = {}
        self.known: dict[Hashable, list[Any]] = defaultdict(list)
        """Bindings before fusion, by what they compute."""
        for binding in traces.bindings(before):
            if isinstance(binding, relax.VarBinding):
                self.known[self._key(binding.value, {})].append(binding)
        values: dict[Any, Any] = dict(zip(after[traces.MAIN].params, before[traces.MAIN].params, strict=True))
        for binding in traces.bindings(after):
            if not isinstance(binding, relax.VarBinding):
                continue
            value, reached = self._run(binding.value, values)
            values[binding.var] = value
            if isinstance(binding.value, relax.Call):
                self.found[binding.value] = reached

    def _run(self, value: Any, values: dict[Any, Any]) -> tuple[Any, list[traces.Trace]]:
        """What an expression was before fusion, and the traces of all that it computes."""
        function = self.after[value.op] if isinstance(getattr(value, "op", None), tvm.ir.GlobalVar) else None
        if isinstance(function, relax.Function):
            inside = {param: self._before(a, values) for param, a in zip(function.params, value.args, strict=True)}
            reached: list[traces.Trace] = []
            for binding in (binding for block in function.body.blocks for binding in block.bindings):
                inside[binding.var], part = self._run(binding.value, inside)
                reached += part
            return self._before(function.body.body, inside), reached
        if isinstance(value, relax.TupleGetItem):
            whole = self._before(value.tuple_value, values)
            if isinstance(whole, tuple):
                return whole[value.index], []
        if not isinstance(value, relax.Call | relax.TupleGetItem):
            return self._before(value, values), []
        same = self.known[self._key(value, values)]
        if not same:
            return None, [trace] if (trace := traces.of_span(value)) else []
        binding = same.pop(0) if len(same) > 1 else same[0]
        trace = traces.of(binding)
        return binding.var, [trace] if trace else []

    def _before(self, expression: Any, values: dict[Any, Any]) -> Any:
        """What a variable, a constant or a tuple of them was before fusion; None where that isn't known."""
        if isinstance(expression, relax.Var):
            return values.get(expression)
        if isinstance(expression, relax.Tuple):
            return tuple(self._before(field, values) for field in expression.fields)
        return expression if isinstance(expression, tvm.ir.GenericConst) else None

    def _key(self, value: Any, values: dict[Any, Any]) -> Hashable:
        """A kernel and its arguments; before fusion (`values` empty) variables stand for themselves."""

        def argument(expression: Any) -> Any:
            if isinstance(expression, relax.Var):
                return values.get(expression) if values else expression
            if isinstance(expression, relax.Tuple):
                return tuple(map(argument, expression.fields))
            if isinstance(expression, tvm.ir.GlobalVar):
                return expression.name_hint
            return expression if isinstance(expression, tvm.ir.GenericConst) else None

        if isinstance(value, relax.Call):
            op = value.op.name if isinstance(value.op, tvm.ir.Op) else str(getattr(value.op, "name_hint", ""))
            return op, tuple(map(argument, value.args))
        if isinstance(value, relax.TupleGetItem):
            return "item", argument(value.tuple_value), int(value.index)
        return "other", argument(value)
