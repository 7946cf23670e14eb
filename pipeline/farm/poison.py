"""Stages that crash their process each time: counted over all runs, so that none is tried for ever."""

from __future__ import annotations

import json
import os
from contextlib import suppress

from enginesmith.pipeline.job.store import Store


class Poison:
    """How often each task has crashed since it last passed, by its id; kept beside the store's timing caches."""

    def __init__(self, store: Store) -> None:
        self._path = store.root / "timing" / "farm-crashes.json"
        self._crashes: dict[str, int] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):
            self._crashes = {str(id): int(count) for id, count in json.loads(self._path.read_bytes()).items()}

    def crashes(self, id: str) -> int:
        return self._crashes.get(id, 0)

    def crashed(self, id: str) -> None:
        self._crashes[id] = self.crashes(id) + 1
        self._write()

    def forgive(self, *ids: str) -> None:
        """They passed, or the user wants them tried again."""
        if [id for id in ids if self._crashes.pop(id, 0)]:
            self._write()

    def _write(self) -> None:
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self._crashes))
        temporary.replace(self._path)
