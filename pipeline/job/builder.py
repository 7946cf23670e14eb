"""The builder: takes a plan, and each stage's result from the store or from a worker."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from threading import RLock

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.stages.registry import load_stage
from enginesmith.converters.torch_models.weights import reachable
from enginesmith.pipeline.job.events import Event, Kind, Listener
from enginesmith.pipeline.job.explain import explain_failure
from enginesmith.pipeline.job.keys import stage_key, stage_tools
from enginesmith.pipeline.job.limits import limits
from enginesmith.pipeline.job.manifest import BUG, PASSED, StageRecord
from enginesmith.pipeline.job.plan import Plan
from enginesmith.pipeline.job.process import Ended, Stopped, run_worker
from enginesmith.pipeline.job.schedule import later, schedule
from enginesmith.pipeline.job.store import Entry, Store, record_files
from enginesmith.pipeline.job.templates import Template, Templates
from enginesmith.pipeline.job.worker import Result, disk_full

FULL = 2**20
"""Bytes; with less the disk counts as full."""
TEMPLATES = "templates.log"
"""File in the folder of logs, for what the processes say that workers are forked from."""


@dataclass
class Build:
    """What a run of a plan left: a record of every stage, and the entries of those that passed."""

    records: list[StageRecord] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    bugs: list[str] = field(default_factory=list)

    @property
    def success(self) -> bool:
        return all(record.status in (*PASSED, "not run") for record in self.records)


@dataclass
class Builder:
    """Runs plans. `logs` is the folder for the tools' own output; `environment` goes to all workers. `listener` hears one
    event after the other, from several threads."""

    store: Store
    recipe: Recipe
    logs: Path
    listener: Listener
    environment: dict[str, str] = field(default_factory=dict)
    _stopping: Flag = field(default_factory=Flag, init=False)

    def run(self, plan: Plan) -> Build:
        """Raises UserError when a stage finds the request to be bad; every other failure is a record."""
        build = Build([_record(planned) for planned in plan.stages])
        records = {record.id: record for record in build.records}
        left = {planned.id: planned for planned in plan.stages}
        started = time.monotonic()
        one_by_one = RLock()  # Ctrl-C may come while it is held, and has something to tell
        self._stopping.clear()

        def tell(kind: Kind, stage: str, text: str = "", fraction: float | None = None) -> None:
            with one_by_one:
                self.listener(
                    Event(event=kind, stage=stage, text=text, fraction=fraction, seconds=time.monotonic() - started)
                )

        with (
            self.store.workspace() as workspace,
            Templates(plan.stages, self.environment, self.logs / TEMPLATES) as templates,
        ):

            def start(planned: PlannedStage) -> Template | None:
                templates.ahead(later(plan.stages, planned))
                template = templates.get(planned)
                if load_stage(planned.stage).alone:
                    templates.settle()
                return template

            def work(planned: PlannedStage) -> None:
                record = records[planned.id]
                if reason := self._missing(planned, records):
                    record.error = reason
                    tell("skipped", planned.id, reason)
                elif planned.blocked:
                    record.status, record.error = "not run", planned.blocked
                    tell("not run", planned.id, planned.blocked)
                else:
                    folder = workspace / str(plan.stages.index(planned))
                    folder.mkdir()
                    self._stage(planned, record, build, folder, tell, start)
                    shutil.rmtree(folder, ignore_errors=True)
                del left[planned.id]
                templates.keep(list(left.values()))

            def stop() -> None:
                self._stopping.set()
                templates.close()

            schedule(plan.stages, self.recipe.jobs, work, stop)
        return build

    def _missing(self, planned: PlannedStage, states: dict[str, StageRecord]) -> str:
        """Why a stage can't start, because of those before it."""
        for need in planned.needs.values():
            state = states[need]
            if not self._passed(state):
                return f"needs {need}, which {_fate(state)}"
        for gate in planned.after:
            if not self._passed(states[gate]) and not planned.blocked:
                return f"comes after {gate}, which {_fate(states[gate])}"
        return ""

    def _passed(self, state: StageRecord) -> bool:
        """A mismatch stops what comes after it, unless the user wants to go on; it has its outputs all the same."""
        return state.status in PASSED or (state.made and self.recipe.keep_going)

    def _stage(
        self,
        planned: PlannedStage,
        record: StageRecord,
        build: Build,
        folder: Path,
        tell: Callable[..., None],
        start: Callable[[PlannedStage], Template | None],
    ) -> None:
        record.key = stage_key(planned, {role: build.entries[need].digest for role, need in planned.needs.items()})
        record.tools = stage_tools(planned)
        record.log = str(self.logs / f"{planned.id.replace(' ', '-')}.log")
        tell("start", planned.id)
        try:
            entry = self._obtain(planned, record, build, folder, tell, start)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            entry = None
            _fail(record, disk_full(Path(error.filename or self.store.root)))
        if entry is not None:
            build.entries[planned.id] = entry
            _fill(record, entry)
        if record.status == "failed":
            tell("failed", planned.id, record.error)
        else:
            tell("cached" if record.status == "cached" else "built", planned.id, record.facts.note)
        if record.status == "failed" and record.error.startswith(BUG):
            build.bugs.append(f"{planned.id}: {record.error}")

    def _obtain(
        self,
        planned: PlannedStage,
        record: StageRecord,
        build: Build,
        folder: Path,
        tell: Callable[..., None],
        start: Callable[[PlannedStage], Template | None],
    ) -> Entry | None:
        """The stage's entry, from the store or from a worker; None after a failure, which is in the record then."""
        self.store.pin(folder.parent, record.key)
        record.status = "cached"
        entry = self._fresh(record.key)
        if entry is not None:
            return entry
        with self.store.lock(record.key, lambda: tell("waiting", planned.id, "another build makes it"), self._wait):
            entry = self._fresh(record.key)  # whoever we waited for may have made it
            if entry is not None:
                return entry
            record.status = "built"
            ended = self._work(planned, record, build, folder, tell, start(planned))
            return self._publish(planned, record, ended, folder)

    def _wait(self) -> None:
        if self._stopping.is_set():
            raise Stopped

    def _fresh(self, key: str) -> Entry | None:
        """The store's entry, unless it was ended early, the user's sources have changed, or a host that was missing
        answers again."""
        entry = self.store.lookup(key)
        if entry is None or entry.facts.interrupted:
            return None
        for name, digest in entry.facts.source_files.items():
            path = Path(name)
            if not path.is_file() or hash_file(path) != digest:
                return None
        if entry.facts.unreachable and reachable(entry.facts.unreachable):
            return None
        return entry

    def _work(
        self,
        planned: PlannedStage,
        record: StageRecord,
        build: Build,
        folder: Path,
        tell: Callable[..., None],
        template: Template | None,
    ) -> Ended:
        def listen(event: Event) -> None:
            tell(event.event, planned.id, event.text, event.fraction)

        cache = self.store.timing(planned.stage, planned.backend)
        cache.mkdir(parents=True, exist_ok=True)
        return run_worker(
            planned.stage,
            planned.options.model_dump(mode="json"),
            {role: self.store.files(build.entries[need].key) for role, need in planned.needs.items()},
            folder,
            cache,
            Path(record.log),
            limits(self.recipe, planned),
            self.environment,
            listen,
            interruptible=load_stage(planned.stage).interruptible,
            template=template,
            stopping=self._stopping,
        )

    def _publish(self, planned: PlannedStage, record: StageRecord, ended: Ended, folder: Path) -> Entry | None:
        """Put a worker's product into the store; a failure goes into the record, and None is returned."""
        result = ended.result
        record.seconds, record.peak_memory_mb = round(ended.seconds, 2), round(ended.peak_memory / 2**20, 1)
        if result.outcome == "user error":
            raise UserError(result.message)
        if result.outcome != "ok":
            # most tools don't say why they could not write
            full = shutil.disk_usage(folder).free < FULL
            _fail(record, disk_full(self.store.root) if full else result)
            return None
        entry = Entry(
            key=record.key,
            id=planned.id,
            stage=planned.stage,
            files=record_files(folder / "out"),
            facts=result.facts,
            seconds=record.seconds,
            peak_memory_mb=record.peak_memory_mb,
            tools=record.tools,
            log=record.log,
        )
        self.store.publish(entry, folder / "out")
        return entry


def _record(planned: PlannedStage) -> StageRecord:
    return StageRecord(
        id=planned.id,
        stage=planned.stage,
        backend=planned.backend,
        target=planned.target,
        needs=planned.needs,
        after=list(planned.after),
        status="skipped",
    )


def _fail(record: StageRecord, result: Result) -> None:
    """Put a failure into the record."""
    record.status = "failed"
    record.error = result.message if result.outcome != "bug" else f"{BUG}{result.message}"
    record.remedy = result.remedy
    record.facts = result.facts
    if (
        result.outcome == "conversion error"
        and not result.remedy
        and (hit := explain_failure(result.message, Path(record.log)))
    ):
        record.error += f" ({hit.cause})"
        record.remedy = "; ".join([hit.remedy, *hit.links[:1]])


def _fill(record: StageRecord, entry: Entry) -> None:
    """Take over what the stage found out, also when it was found out in an earlier run."""
    record.seconds = entry.seconds
    record.peak_memory_mb = entry.peak_memory_mb
    record.tools = entry.tools
    record.log = entry.log if Path(entry.log).is_file() else ""  # its folder may be gone, or on another machine
    record.facts = entry.facts
    if short := entry.facts.shortcoming:
        record.status, record.error, record.remedy = "failed", short.reason, short.remedy


def _fate(state: StageRecord) -> str:
    return {"failed": "failed", "skipped": "was skipped", "not run": "could not run here"}.get(
        state.status, state.status
    )


def worker_environment(recipe: Recipe) -> dict[str, str]:
    """What all workers get: the number of threads, for every runtime that reads it from the environment."""
    threads = str(recipe.threads or len(os.sched_getaffinity(0)))
    return {"OMP_NUM_THREADS": threads, "TVM_NUM_THREADS": threads}
