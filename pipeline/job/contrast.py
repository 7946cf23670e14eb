"""What differs between two builds, two graphs, or a graph and an engine: the record that `compare` fills in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from pydantic import BaseModel, computed_field

from enginesmith.converters.bisect.sides import Node
from enginesmith.converters.core.comparisons import Comparison

Value: TypeAlias = int | float | str | None


class Change(BaseModel):
    """One thing that isn't the same on both sides; None on the side that doesn't have it."""

    what: str
    before: Value = None
    after: Value = None
    matters: bool = False
    note: str = ""


class Contrast(BaseModel):
    """Only what differs is listed, but for `outputs`: those have a verdict each, `not run` with its reason."""

    a: str
    b: str
    """Paths as given."""
    outputs: list[Comparison] = []
    interface: list[Change] = []
    """Inputs and outputs of the model: dtype and shape."""
    verdicts: list[Change] = []
    """Of the stages and of the engines."""
    precision: list[Change] = []
    """Number of products, and of an engine's layers, by dtype."""
    accuracy: list[Change] = []
    """Of the lowered model, by its metric."""
    operators: list[Change] = []
    """Number of nodes by operator."""
    nodes_a: list[Node] = []
    """That only A has."""
    nodes_b: list[Node] = []
    sizes: list[Change] = []
    """Bytes."""
    latencies: list[Change] = []
    """Milliseconds."""
    tools: list[Change] = []
    """Versions."""
    findings: list[Change] = []
    """With the repairs that were made."""
    recipe: list[Change] = []
    machine: list[Change] = []
    notes: list[str] = []
    """What could not be looked at, and why."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def differs(self) -> bool:
        """In what matters: outputs, interface, verdicts, precision."""
        changes = (*self.interface, *self.verdicts, *self.precision)
        return any(change.matters for change in changes) or any(each.verdict == "fail" for each in self.outputs)


def changes(before: Mapping[str, Value], after: Mapping[str, Value], *, matters: bool = False) -> list[Change]:
    """What only one of two mappings has, or has otherwise."""
    return [
        Change(what=key, before=before.get(key), after=after.get(key), matters=matters)
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    ]
