"""Arrays in files: an .npz or .npy with one example in each row, or a folder with one in each file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array
from enginesmith.converters.data.datasets import npz
from enginesmith.converters.data.datasets.base import Item, Role, Source, drawn

LABELS = ("labels", "targets", "y", "label", "target")
"""Names of the targets; an input of the same name comes first."""


class Parts(NamedTuple):
    """Which array of a file is what."""

    inputs: dict[str, str]
    """Input name to the name of its array."""
    targets: dict[str, str]
    """`labels`, and for detections `boxes` too, to the names of the arrays."""
    rest: list[str]

    def item(self, where: str, read: Callable[[str], Array]) -> Item:
        target: Any = {part: read(name) for part, name in self.targets.items()}
        if "boxes" in target:  # as many rows for each picture, those with a label below 0 to fill up
            there = target["labels"] >= 0
            target = {part: array[there] for part, array in target.items()}
        else:
            target = target.get("labels")
        return Item(where, {name: read(array) for name, array in self.inputs.items()}, target)


class ArrayFile(Source):
    """The rows of an .npz or .npy, one in memory at a time."""

    def __init__(self, path: Path, specs: Sequence[InputSpec], task: str, role: Role, limit: int, seed: int) -> None:
        """`limit` rows, drawn with `seed`. Raises UserError for a file without the inputs."""
        self.path = path
        self.name = path.name
        found = npz.headers(path)
        self.parts = assign(path, list(found), specs, task)
        if self.parts.rest:
            self.warnings = (
                f"{path}: {', '.join(self.parts.rest)} left out: no input, and targets are named {LABELS[0]}",
            )
        self.read = [*self.parts.inputs.values(), *self.parts.targets.values()]
        for name in self.read:
            if not found[name].shape:
                raise UserError(
                    f"{path}: {name} is a single number; the first axis of an array must count the examples"
                )
        counts = {name: found[name].shape[0] for name in self.read}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise UserError(f"{path}: the arrays have different numbers of examples: {listed}")
        total = counts[self.read[0]]
        self.chosen = frozenset(drawn(range(total), role, limit, seed))

    def __iter__(self) -> Iterator[Item]:
        arrays = {name: npz.rows(self.path, name) for name in self.read}
        for number in range(max(self.chosen, default=-1) + 1):
            row = {name: next(rows) for name, rows in arrays.items()}
            if number in self.chosen:
                yield self.parts.item(f"{self.path.name}, row {number}", row.__getitem__)


class ArrayFolder(Source):
    """Files with one example each."""

    def __init__(self, folder: Path, files: Sequence[Path], specs: Sequence[InputSpec], task: str) -> None:
        self.name = f"arrays of {folder.name}"
        self.files = files
        self.specs = specs
        self.task = task

    def __iter__(self) -> Iterator[Item]:
        for path in self.files:
            parts = assign(path, list(npz.headers(path)), self.specs, self.task)
            yield parts.item(str(path), lambda name, path=path: npz.whole(path, name))  # type: ignore[misc]


def assign(path: Path, names: Sequence[str], specs: Sequence[InputSpec], task: str) -> Parts:
    """Inputs and targets by name; the one array that is no target goes to the one input. Raises UserError."""
    wanted = [spec.name for spec in specs]
    inputs = {name: name for name in wanted if name in names}
    targets = _targets([name for name in names if name not in inputs], task)
    rest = [name for name in names if name not in (*inputs.values(), *targets.values())]
    if len(wanted) == 1 and not inputs and len(rest) == 1:
        inputs, rest = {wanted[0]: rest[0]}, []
    missing = [name for name in wanted if name not in inputs]
    if missing:
        near = difflib.get_close_matches(missing[0], rest, n=1)
        raise UserError(
            f"{path} has no array for the input {', '.join(missing)}; it has {', '.join(names)}"
            + (f": rename {near[0]}" if near else "; name the arrays as the model's inputs")
        )
    return Parts(inputs, targets, rest)


def _targets(names: Sequence[str], task: str) -> dict[str, str]:
    labels = next((name for name in LABELS if name in names), "")
    if not labels:
        return {}
    return {"boxes": "boxes", "labels": labels} if task == "detection" and "boxes" in names else {"labels": labels}
