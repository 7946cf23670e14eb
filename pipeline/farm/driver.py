"""What runs stages: on this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from enginesmith.pipeline.farm.cells import Cell
from enginesmith.pipeline.farm.queue import Node
from enginesmith.pipeline.farm.tasks import Task
from enginesmith.pipeline.job.artifacts import Build
from enginesmith.pipeline.job.entry import Entry
from enginesmith.pipeline.job.events import Event
from enginesmith.pipeline.job.manifest import StageRecord

Listener = Callable[[int, Event], None]
"""Hears the index of the cell that leads a task, and what its stage says."""


@dataclass(frozen=True)
class Done:
    """A task that ended: with its record, and with its entry where it left one; or `lost`, with its node, for the reason
    given."""

    id: str
    record: StageRecord | None = None
    entry: Entry | None = None
    bugs: list[str] = field(default_factory=list)
    lost: str = ""


class Driver(Protocol):
    """`about` says on what the stages run, in a few words; `patience` is how many seconds a node that a task needs may be
    away."""

    about: str
    patience: float

    def nodes(self) -> list[Node]:
        """The machines that there are by now."""

    def start(self, task: Task, node: Node, cell: Cell, build: Build) -> None:
        """Begin the work of a task, whose lead is a stage of this cell. What it needs is in the cell's build."""

    def wait(self, seconds: float) -> list[Done]:
        """What has ended, after at most so long. Raises what isn't the fate of one task."""

    def stop(self) -> None:
        """End all that runs, at once."""

    def close(self) -> None:
        """Nothing more is to be run."""
