"""What every metric offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from enginesmith.converters.core.samples import Array

Outputs = Mapping[str, Array]
"""Output name to array, of one run."""


class Metric(ABC):
    """Gathers example by example. Higher is better; 1.0 is the best that one of ours gives."""

    name: str
    takes_targets: bool = True
    """Whether labels are of use to it."""

    @abstractmethod
    def fresh(self) -> Metric:
        """The same metric, before any example."""

    @abstractmethod
    def add(self, outputs: Outputs, reference: Outputs, target: Any) -> None:
        """`reference`: the outputs of the float32 graph for the same feed, the truth where `target` is None.

        Outputs with NaN count as wrong. Raises UserError for a target of another form than the metric takes.
        """

    @abstractmethod
    def value(self) -> float:
        """Over all examples so far. Raises UserError where they don't define it."""

    def doubt(self) -> str:
        """Why the value of the float32 graph itself can't be right, such as labels of another model; empty where it can."""
        return ""
