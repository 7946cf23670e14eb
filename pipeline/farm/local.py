"""The farm on this machine: stages in processes of their own, as those of a build, and nothing else to start."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event as Flag
from threading import Lock, RLock

import psutil

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.pipeline.farm.cells import Cell
from enginesmith.pipeline.farm.driver import Done, Listener
from enginesmith.pipeline.farm.queue import Node
from enginesmith.pipeline.farm.tasks import Task
from enginesmith.pipeline.job.artifacts import Artifacts, Build
from enginesmith.pipeline.job.builder import TEMPLATES, worker_environment
from enginesmith.pipeline.job.events import Event, Kind
from enginesmith.pipeline.job.results import LOGS
from enginesmith.pipeline.job.schedule import later
from enginesmith.pipeline.job.store import Store
from enginesmith.pipeline.job.templates import Imports, Template, Templates, imports_of


class Local:
    """`workspace` is one of the store's; `builds` are those of the cells, into which the stages' records go. `listener` hears
    the events of all stages, one after the other, from several threads."""

    def __init__(
        self,
        store: Store,
        workspace: Path,
        cells: Sequence[Cell],
        builds: Sequence[Build],
        tasks: Mapping[str, Task],
        logs: Path,
        listener: Listener,
        jobs: int = 0,
    ) -> None:
        self.patience = 0.0
        self._cores = jobs or len(os.sched_getaffinity(0))
        self.about = f"this machine: plain processes, {self._cores} at a time"
        self._cells, self._builds = cells, builds
        self._stopping = Flag()
        self._pool = ThreadPoolExecutor(self._cores)
        self._running: dict[Future[Done], str] = {}
        self._warm = _Warm(cells, tasks, logs)
        self._one_by_one = RLock()  # Ctrl-C may come while it is held, and has something to tell
        self._artifacts = [self._maker(index, store, workspace, logs, listener) for index in range(len(cells))]

    def _maker(self, index: int, store: Store, workspace: Path, logs: Path, listener: Listener) -> Artifacts:
        cell = self._cells[index]

        def tell(kind: Kind, stage: str, text: str = "", fraction: float | None = None) -> None:
            with self._one_by_one:
                listener(index, Event(event=kind, stage=stage, text=text, fraction=fraction))

        return Artifacts(
            store=store,
            recipe=cell.recipe,
            logs=(cell.recipe.out or logs) / LOGS,
            environment=worker_environment(cell.recipe),
            plan=cell.plan,
            build=self._builds[index],
            workspace=workspace,
            tell=tell,
            start=lambda planned: self._warm.serve(planned, cell),
            stopping=self._stopping,
        )

    def nodes(self) -> list[Node]:
        return [Node("local", self._cores, psutil.virtual_memory().available)]

    def start(self, task: Task, node: Node, cell: Cell, build: Build) -> None:
        self._running[self._pool.submit(self._work, task)] = task.job.id

    def wait(self, seconds: float) -> list[Done]:
        ended = wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED).done
        for future in ended:
            del self._running[future]
        return [future.result() for future in ended]

    def stop(self) -> None:
        self._stopping.set()
        self._warm.close()

    def close(self) -> None:
        self._warm.close()
        self._pool.shutdown(cancel_futures=True)

    def _work(self, task: Task) -> Done:
        index, planned = task.lead
        build = self._builds[index]
        record = next(record for record in build.records if record.id == planned.id)
        try:
            self._artifacts[index].make(planned)
        except UserError as error:  # of one build a bad request; the others go on
            record.status, record.error = "failed", str(error)
        if not record.crashed:  # what crashed may be begun again: the process that serves it and others must live
            self._warm.done(planned, self._cells[index])
        bugs = [each for each in build.bugs if each.startswith(f"{planned.id}: ")]
        return Done(task.job.id, record, build.entries.get(planned.id), bugs)


class _Warm:
    """The warm processes of all cells that want the same environment, for as long as a task is left that they serve."""

    def __init__(self, cells: Sequence[Cell], tasks: Mapping[str, Task], logs: Path) -> None:
        leads: dict[str, list[PlannedStage]] = {}
        for task in tasks.values():
            index, planned = task.lead
            if not planned.blocked:
                leads.setdefault(_environment(cells[index]), []).append(planned)
        self._templates = {
            environment: Templates(stages, worker_environment(cell.recipe), logs / TEMPLATES)
            for cell in cells
            if (environment := _environment(cell)) in leads
            for stages in [leads[environment]]
        }
        self._left = {each: Counter(map(imports_of, stages)) for each, stages in leads.items()}
        self._likes = {each: {imports_of(stage): stage for stage in stages} for each, stages in leads.items()}
        self._lock = Lock()

    def serve(self, planned: PlannedStage, cell: Cell) -> Template | None:
        return self._templates[_environment(cell)].serve(planned, later(cell.plan.stages, planned))

    def done(self, planned: PlannedStage, cell: Cell) -> None:
        """One task less; what serves none of those that are left ends."""
        environment, imports = _environment(cell), imports_of(planned)
        with self._lock:
            left = self._left[environment]
            left[imports] -= 1
            wanted: list[Imports] = [each for each, count in left.items() if count > 0]
        if imports not in wanted:
            self._templates[environment].keep([self._likes[environment][each] for each in wanted])

    def close(self) -> None:
        for templates in self._templates.values():
            templates.close()


def _environment(cell: Cell) -> str:
    return str(sorted(worker_environment(cell.recipe).items()))
