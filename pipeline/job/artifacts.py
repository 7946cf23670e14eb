"""A stage's artifact: from the store, or from a worker that makes it."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event as Flag
from threading import RLock

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.stamps import Stamp
from enginesmith.converters.stages.registry import load_stage
from enginesmith.converters.torch_models.weights import reachable
from enginesmith.pipeline.job.entry import Entry
from enginesmith.pipeline.job.events import Event
from enginesmith.pipeline.job.explain import explain_failure
from enginesmith.pipeline.job.keys import stage_key, stage_tools
from enginesmith.pipeline.job.limits import limits
from enginesmith.pipeline.job.manifest import BUG, PASSED, StageRecord
from enginesmith.pipeline.job.plan import Plan
from enginesmith.pipeline.job.process import Ended, Stopped, run_worker
from enginesmith.pipeline.job.store import Store
from enginesmith.pipeline.job.templates import Template
from enginesmith.pipeline.job.worker import Result, disk_full

FULL = 2**20
"""Bytes; with less the disk counts as full."""
TRIES = 3
"""Times that a stage is begun, where what it reads is damaged meanwhile."""


@dataclass
class Build:
    """What a run of a plan left: a record of every stage, and the entries of those that passed."""

    records: list[StageRecord] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    bugs: list[str] = field(default_factory=list)

    @property
    def success(self) -> bool:
        return all(record.status in (*PASSED, "not run") for record in self.records)


class _Damaged(Exception):
    """What these stages left in the store is not what it was when it was looked up, or was written to while it was read."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(*ids)
        self.ids = ids


@dataclass
class Artifacts:
    """Makes the artifacts of a plan's stages, in several threads, and writes down in `build` what came of it.

    Nothing is published that was made from something else than its key says: inputs are checked by content before a worker
    reads them, and afterwards that nobody wrote to them. What is damaged or gone is made again.
    """

    store: Store
    recipe: Recipe
    logs: Path
    environment: dict[str, str]
    plan: Plan
    build: Build
    workspace: Path
    tell: Callable[..., None]
    start: Callable[[PlannedStage], Template | None]
    """Gives the warm process to fork the stage's worker from."""
    stopping: Flag
    _mending: RLock = field(default_factory=RLock, init=False)

    @cached_property
    def _records(self) -> dict[str, StageRecord]:
        return {record.id: record for record in self.build.records}

    def make(self, planned: PlannedStage) -> None:
        """Raises UserError when the stage finds the request to be bad; every other failure is in its record."""
        self.tell("start", planned.id)
        record = self._make(planned, planned.id)
        if record.status == "failed":
            self.tell("failed", planned.id, record.error)
        else:
            self.tell("cached" if record.status == "cached" else "built", planned.id, record.facts.note)
        if record.status == "failed" and record.error.startswith(BUG):
            self.build.bugs.append(f"{planned.id}: {record.error}")

    def _make(self, planned: PlannedStage, teller: str) -> StageRecord:
        """The stage's record, filled. What there is to tell meanwhile, the stage `teller` tells."""
        record = self._records[planned.id]
        record.tools = stage_tools(planned)
        record.log = str(self.logs / f"{planned.id.replace(' ', '-')}.log")
        try:
            entry = self._entry(planned, record, teller)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            entry = None
            _fail(record, disk_full(Path(error.filename or self.store.root)))
        if entry is not None:
            self.build.entries[planned.id] = entry
            _fill(record, entry)
        return record

    def _entry(self, planned: PlannedStage, record: StageRecord, teller: str) -> Entry | None:
        """The stage's entry; None after a failure, which is in the record then."""
        for _ in range(TRIES):
            digests = {role: self.build.entries[need].digest for role, need in planned.needs.items()}
            record.key = stage_key(planned, digests)
            try:
                return self._obtain(planned, record, teller)
            except _Damaged as damaged:
                if not self._mend(damaged.ids, teller):
                    break
            except OSError:
                if self.workspace.is_dir():
                    raise
                self.tell(
                    "warning", planned.id, f"the store {self.store.root} was deleted; what is needed is made again"
                )
                self._lay_out()
        message = f"what it needs was damaged in the store {self.store.root}, and could not be made again"
        _fail(
            record, Result(outcome="conversion error", message=message, remedy="look who writes there, and at the disk")
        )
        return None

    def _obtain(self, planned: PlannedStage, record: StageRecord, teller: str) -> Entry | None:
        """From the store or from a worker. Raises _Damaged."""
        self.store.pin(self.workspace, record.key)
        record.status = "cached"
        entry = self._fresh(record.key)
        if entry is not None:
            return entry

        def waiting() -> None:
            self.tell("waiting", teller, "another build makes it")

        with self.store.claim(record.key, waiting, self._wait):
            entry = self._fresh(record.key)  # whoever we waited for may have made it
            if entry is not None:
                return entry
            record.status = "built"
            folder = Path(tempfile.mkdtemp(dir=self.workspace))
            try:
                stamps = self._check(planned)
                ended = self._work(planned, record, folder, teller)
                self._check_untouched(stamps)
                if not folder.is_dir():
                    raise FileNotFoundError(errno.ENOENT, "deleted", str(folder))
                return self._publish(planned, record, ended, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _wait(self) -> None:
        if self.stopping.is_set():
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

    def _check(self, planned: PlannedStage) -> dict[str, dict[str, Stamp | None]]:
        """The stamps of all files that a stage is about to read, whose content is right. Raises _Damaged."""
        needs = {need: self.build.entries[need] for need in planned.needs.values()}
        stamps = {need: self.store.stamps(entry) for need, entry in needs.items()}
        if damaged := [need for need, entry in needs.items() if not self.store.holds(entry)]:
            raise _Damaged(damaged)
        return stamps

    def _check_untouched(self, stamps: dict[str, dict[str, Stamp | None]]) -> None:
        """Raises _Damaged for inputs that were written to since, whatever they hold by now."""
        touched = [need for need, before in stamps.items() if self.store.stamps(self.build.entries[need]) != before]
        if touched:
            raise _Damaged(touched)

    def _mend(self, needs: Sequence[str], teller: str) -> bool:
        """Have what these stages left in the store again, from workers where it is damaged."""
        for need in needs:
            told = f"what {need} left in the store was written to after it was looked up"
            with self._mending:
                record = self._records[need]
                before = record.status
                sound = self.store.holds(self.build.entries[need])
                self.tell("warning", teller, f"{told}; {'read again' if sound else 'made again'}")
                if not sound:
                    self._make(next(stage for stage in self.plan.stages if stage.id == need), teller)
                if record.status == "cached":  # another thread or build was faster
                    record.status = before
                if not record.made:
                    return False
        return True

    def _lay_out(self) -> None:
        """Make the folders of a deleted store again."""
        with self._mending:
            self.store.make_folders()
            self.workspace.mkdir(exist_ok=True)

    def _work(self, planned: PlannedStage, record: StageRecord, folder: Path, teller: str) -> Ended:
        def listen(event: Event) -> None:
            self.tell(event.event, teller, event.text, event.fraction)

        cache = self.store.timing(planned.stage, planned.backend)
        cache.mkdir(parents=True, exist_ok=True)
        return run_worker(
            planned.stage,
            planned.options.model_dump(mode="json"),
            {role: self.store.files(self.build.entries[need].key) for role, need in planned.needs.items()},
            folder,
            cache,
            Path(record.log),
            limits(self.recipe, planned),
            self.environment,
            listen,
            interruptible=load_stage(planned.stage).interruptible,
            template=self.start(planned),
            stopping=self.stopping,
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
            files=result.files,
            facts=result.facts,
            seconds=record.seconds,
            peak_memory_mb=record.peak_memory_mb,
            tools=record.tools,
            log=record.log,
        )
        self.store.publish(entry, folder / "out")
        return entry


def _fail(record: StageRecord, result: Result) -> None:
    """Put a failure into the record."""
    record.status = "failed"
    record.error = result.message if result.outcome != "bug" else f"{BUG}{result.message}"
    record.remedy = result.remedy
    record.crashed = result.crashed
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
