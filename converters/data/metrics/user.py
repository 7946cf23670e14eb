"""A metric of the user's."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import Array
from enginesmith.converters.core.user_code import guarded
from enginesmith.converters.data.metrics.base import Metric, Outputs

Function = Callable[[list[dict[str, Array]], list[Any]], Any]


class UserMetric(Metric):
    """`function(outputs, targets)`, called once with the outputs and the target of every run; it keeps all of them.

    Where the data has no labels the targets are the outputs of the float32 graph.
    """

    def __init__(self, name: str, function: Function) -> None:
        self.name = name
        self.function = function
        self.outputs: list[dict[str, Array]] = []
        self.targets: list[Any] = []

    def fresh(self) -> UserMetric:
        return UserMetric(self.name, self.function)

    def add(self, outputs: Outputs, reference: Outputs, target: Any) -> None:
        self.outputs.append({name: array.copy() for name, array in outputs.items()})
        self.targets.append({name: array.copy() for name, array in reference.items()} if target is None else target)

    def value(self) -> float:
        found = guarded(lambda: self.function(self.outputs, self.targets), f"the metric {self.name} failed")
        if hasattr(found, "item"):  # NumPy's and torch's numbers
            found = guarded(found.item, f"the metric {self.name} returned no single number")
        if isinstance(found, bool) or not isinstance(found, Real):
            what = "None" if found is None else f"a {type(found).__name__}"
            raise UserError(f"the metric {self.name} returned {what}; it must return a number, higher is better")
        value = float(found)
        if not math.isfinite(value):
            raise UserError(f"the metric {self.name} returned {value}; it must return a finite number")
        return value
