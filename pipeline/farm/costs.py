"""What stages took: remembered beside the store's timing caches, so that the longest path is known before it is run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from enginesmith.converters.core.plan import PlannedStage
from enginesmith.pipeline.job.manifest import StageRecord
from enginesmith.pipeline.job.store import Store

MOST = 100_000
"""Stages that are remembered: those that were seen last."""
UNKNOWN = 1.0
"""Seconds of a stage of which nothing is known."""
UNKNOWN_MEMORY = 2048.0
"""MB of the same."""
STEP = 2**28
"""Bytes that memory is counted in: jobs that take about the same are one kind to the queue."""


@dataclass(frozen=True)
class Cost:
    """`seconds` of wall time; `memory` in bytes."""

    seconds: float
    memory: int = 0


class Costs:
    """Of tasks by their ids; of one that was never seen the median of its kind (stage and backend)."""

    def __init__(self, store: Store) -> None:
        self._path = store.root / "timing" / "farm.json"
        self._known: dict[str, tuple[str, float, float]] = {}
        with suppress(OSError, ValueError, TypeError):  # none yet, or of another version
            found = json.loads(self._path.read_bytes())
            self._known = {id: (str(kind), float(took), float(peak)) for id, (kind, took, peak) in found.items()}
        kinds: dict[str, list[tuple[float, float]]] = {}
        for kind, took, peak in self._known.values():
            kinds.setdefault(kind, []).append((took, peak))
        self._kinds = {kind: tuple(map(median, zip(*seen, strict=True))) for kind, seen in kinds.items()}

    def of(self, id: str, planned: PlannedStage) -> Cost:
        if planned.blocked:
            return Cost(0.0)
        if id in self._known:
            _, took, peak = self._known[id]
        else:
            took, peak = self._kinds.get(_kind(planned.stage, planned.backend), (UNKNOWN, UNKNOWN_MEMORY))
        return Cost(took, -int(-peak * 2**20 // STEP) * STEP)

    def remember(self, records: Iterable[tuple[str, StageRecord]]) -> None:
        """Those of tasks that were done, by id."""
        for id, record in records:
            self._known.pop(id, None)  # to the end
            self._known[id] = (_kind(record.stage, record.backend), record.seconds, record.peak_memory_mb)
        kept = dict(list(self._known.items())[-MOST:])
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(kept))
        temporary.replace(self._path)


def _kind(stage: str, backend: str) -> str:
    return f"{stage} {backend}".strip()
