"""The stage behind `--tune`: a search for better schedules of the kernels in a TVM module."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import Backend, BuildRequest
from enginesmith.converters.backends.building import REPAIR_PACKAGES, build
from enginesmith.converters.backends.profile import profile_of, values_of
from enginesmith.converters.backends.tvm.tuning.database import Database, Header
from enginesmith.converters.backends.tvm.tuning.machine import parse_tracker, reach
from enginesmith.converters.core.clock import Clock
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.hashing import code_version
from enginesmith.converters.core.inputs import listed_shapes
from enginesmith.converters.core.isolated import FAILED, Isolated
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, EngineTarget, PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.records import TunedKernel, Tuning
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.core.stage import MODEL, SCHEDULES, Context, Stage

if TYPE_CHECKING:
    from enginesmith.converters.backends.tvm.kernels.workload import Tuned
    from enginesmith.converters.backends.tvm.tuning.search import Search

LIMIT = 30.0
"""Seconds for one measurement: a kernel that takes longer, with its compilation, has failed."""
WHOLE = 300.0
"""Seconds for the timing of both whole modules."""
SLOWER = 0.995
"""Of the default module's time: a tuned one that takes more isn't kept. Less than that is noise."""
PACKAGE = "enginesmith.converters.backends.tvm.tuning"

KERNELS = "enginesmith.converters.backends.tvm.kernels.workload"
"""What kernels and schedules are is decided by this module and those that it imports."""


class TuneOptions(Options):
    """`seconds` to search for, about; `threads` that the module will have, 0 for one per core."""

    backend: str
    target: str
    seconds: float = Field(gt=0)
    threads: int = 0
    winograd: bool = True
    repair: bool = True
    tuners: str = ""
    """A tracker of TVM's RPC and the key of the machines to measure on, `HOST:PORT/KEY`; this machine where left out."""
    database: Path | None = None
    """What was measured before, and is added to; a file in the store where left out."""
    code: str
    """Version of the kernels: what was measured with another one is worth nothing."""
    machine: str
    """Only makes the machine part of the key."""

    @property
    def header(self) -> Header:
        """Of the database."""
        return Header(tvm=get_backend(self.backend).version(), kernels=self.code, target=self.target)


class TuneFacts(Facts):
    tuning: Tuning


class Tune(Stage[TuneOptions]):
    """The artifact is a file of schedules, which the compilation takes; it names none where the default module is faster.

    Ctrl-C takes the best so far. What was measured stays in a database, from which every later search goes on.
    """

    name = "tune"
    options = TuneOptions
    facts = TuneFacts
    interruptible = True
    alone = True
    without_torch = True

    def packages_of(self, options: TuneOptions) -> tuple[str, ...]:
        return (*get_backend(options.backend).packages, *(REPAIR_PACKAGES if options.repair else ()))

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        _check(recipe, so_far.engines)
        backend, target = so_far.branch.backend, so_far.branch.target
        if not recipe.tune or not get_backend(backend).tunable:
            return
        options = TuneOptions(
            backend=backend,
            target=target,
            seconds=recipe.tune,
            threads=recipe.threads,
            winograd=recipe.winograd,
            repair=recipe.repair,
            tuners=recipe.tuners,
            database=recipe.tune_database and recipe.tune_database.absolute(),
            code=code_version(KERNELS),
            machine="" if recipe.tuners else so_far.machine,
        )
        if options.database is not None:
            Database(options.database, options.header)  # raises UserError for a database of something else
        needs = so_far.needs("model", "samples")
        id = f"{self.name} {so_far.branch.name}"
        yield PlannedStage(id, self.name, options, needs=needs, after=so_far.after, backend=backend, target=target)
        so_far.roles["tuned"] = id

    def run(self, inputs: Mapping[str, Path], options: TuneOptions, context: Context) -> TuneFacts:
        from enginesmith.converters.backends.tvm.kernels.workload import Tuned
        from enginesmith.converters.backends.tvm.tuning.machine import machines
        from enginesmith.converters.backends.tvm.tuning.network import workloads
        from enginesmith.converters.backends.tvm.tuning.search import Search
        from enginesmith.converters.backends.tvm.tuning.tasks import groups_of

        started = time.monotonic()
        backend = get_backend(options.backend)
        threads = options.threads or len(os.sched_getaffinity(0))
        header = options.header
        database = Database(options.database or context.cache / f"{options.target}-{header.short}.jsonl", header)
        if not options.tuners and (reason := backend.runnable(options.target)):
            raise UserError(f"can't tune for {options.target} here: {reason}; give --tuners HOST:PORT/KEY")
        count = machines(options.tuners) if options.tuners else 1
        samples, feeds = SampleSet.load(inputs["samples"])
        request = BuildRequest(
            onnx=inputs["model"] / MODEL,
            target=options.target,
            profile=profile_of(samples.specs),
            values=values_of(samples.specs),
            out=context.scratch / "default",
            shapes=listed_shapes(samples.specs),
            winograd=options.winograd,
        )
        request.out.mkdir()
        built = build(backend, request, context, feeds, context.scratch / MODEL if options.repair else None)
        request = replace(request, onnx=built.onnx)
        context.progress("looking for kernels", 0.0)
        groups = groups_of(workloads(request), winograd=options.winograd)
        if not groups:
            raise ConversionError(
                f"tvm {header.tvm}: no kernel of this graph has schedules to choose from", "leave TUNE out"
            )
        where = (options.target, threads, options.tuners)
        with ExitStack() as stack:
            workers = [stack.enter_context(Isolated(without_torch=True)) for _ in range(count)]
            for worker in workers:
                _get_ready(worker, where)
            clock = Clock(options.seconds, context.stopped)
            search = Search(groups, database, threads, clock, context.progress, remote=bool(options.tuners))
            search.run([partial(_race, worker, where) for worker in workers])
        known = search.made + search.remembered
        if not known or (search.failures and len(search.failures) == search.made and not search.remembered):
            raise _nothing_learnt(search.failures, search.stopped)
        tuned, times = search.tuned(), None
        context.progress("comparing the whole modules", 1.0)
        if tuned.schedules or any(search.size(group) != group.size for group in groups):
            comparison = _Comparison(backend, request, where, context.scratch)
            times = comparison.times(tuned)
            if times[1] >= SLOWER * times[0] and (light := search.tuned(heavy=False)) != tuned:
                tuned, times = light, comparison.times(light)
        kept = times is not None and times[1] < SLOWER * times[0]
        schedules = (tuned if kept else Tuned()).dump()
        (context.out / SCHEDULES).write_text(json.dumps(schedules, indent=1), encoding="utf-8")
        record = Tuning(
            database=str(database.path),
            seconds=round(time.monotonic() - started, 1),
            threads=threads,
            machines=count,
            measurements=search.made,
            remembered=search.remembered,
            failed=len(search.failures),
            failure=search.failures[-1] if search.failures else "",
            kernels=_kernels(search),
            predicted=search.gain(),
            default_ms=times[0] if times else None,
            tuned_ms=times[1] if times else None,
            kept=kept,
            stopped=search.stopped,
        )
        return TuneFacts(tuning=record, note=_note(record))


def _check(recipe: Recipe, engines: Sequence[EngineTarget]) -> None:
    """Raises UserError for a search that makes no sense, or that can't measure."""
    if not recipe.tune:
        for name in ("tuners", "tune_database"):
            if getattr(recipe, name):
                raise UserError(f"{name} is for a search: give tune too, such as --tune 10m")
        return
    tunable = [engine for engine in engines if get_backend(engine.backend).tunable]
    if not tunable:
        names = ", ".join(dict.fromkeys(engine.backend for engine in engines))
        raise UserError(f"tune is for TVM modules, and the backend is {names}: give --backend tvm, or leave --tune out")
    if not recipe.kernels:
        raise UserError("tune searches for schedules of our kernels, and --no-kernels leaves them out")
    if recipe.tuners:
        reach(parse_tracker(recipe.tuners))
        return
    for engine in tunable:
        if reason := get_backend(engine.backend).runnable(engine.target):
            raise UserError(
                f"can't tune for {engine.target} here: {reason}; "
                "measure on such machines with --tuners HOST:PORT/KEY, or leave --tune out"
            )


def _get_ready(worker: Isolated, where: tuple[str, int, str]) -> None:
    """Raises UserError where there is no machine to measure on."""
    try:
        worker.call(f"{PACKAGE}.trial:ready", *where, timeout=WHOLE)
    except FAILED as error:
        raise UserError(str(error)) from None


def _race(
    worker: Isolated, where: tuple[str, int, str], entrants: Sequence[Mapping[str, object]], more: int
) -> list[float]:
    """`trial.race` in a process of its own. Raises what `isolated.FAILED` holds."""
    times: list[float] = worker.call(f"{PACKAGE}.trial:race", entrants, *where, more, timeout=LIMIT)
    return times


class _Comparison:
    """Of whole modules with that of default schedules, in turn in one process."""

    def __init__(self, backend: Backend, default: BuildRequest, where: tuple[str, int, str], scratch: Path) -> None:
        """`default` is what the module of default schedules was built by."""
        self.backend, self.default, self.where, self.scratch = backend, default, where, scratch
        self.built = 0

    def times(self, tuned: Tuned) -> tuple[float, float]:
        """Milliseconds of the default module, and of one with other schedules."""
        file = self.scratch / SCHEDULES
        file.write_text(json.dumps(tuned.dump()), encoding="utf-8")
        engines = [str(folder / self.backend.engine_file) for folder in (self.default.out, self._build(file))]
        try:
            with Isolated(without_torch=True) as process:
                default, other = process.call(f"{PACKAGE}.network:race", engines, *self.where, timeout=WHOLE)
        except FAILED as error:
            raise ConversionError(f"the whole module could not be timed: {error}") from None
        return default, other

    def _build(self, schedules: Path) -> Path:
        out = self.scratch / f"module{self.built}"
        self.built += 1
        out.mkdir()
        self.backend.build(replace(self.default, out=out, schedules=schedules), Context(out, out, out))
        return out


def _nothing_learnt(failures: Sequence[str], stopped: str) -> ConversionError:
    if failures:
        return ConversionError(
            f"no kernel could be measured: all {len(failures)} failed, the last one with: {failures[-1]}",
            "leave TUNE out: the default kernels need no measurement",
        )
    return ConversionError(f"no kernel was measured: it stopped {stopped}", "give it more time, such as TUNE=10m")


def _kernels(search: Search) -> list[TunedKernel]:
    """Of the network, those that take most of the time first."""
    found = []
    for group in search.groups:
        size, (before, after) = search.size(group), search.times(group)
        task = group.rivals[size]
        default = size == group.size and task.walk.ratio == 1
        found.append(
            TunedKernel(
                kernel=task.workload.label,
                calls=group.calls,
                measurements=sum(rival.measurements for rival in group.rivals.values()),
                failed=sum(len(rival.failures) for rival in group.rivals.values()),
                default_ms=before,
                best_ms=after,
                schedule={} if default else vars(task.walk.best),
            )
        )
    return sorted(found, key=lambda kernel: kernel.calls * kernel.default_ms, reverse=True)


def _note(record: Tuning) -> str:
    spent = f"{record.measurements} measurements, {record.remembered} remembered"
    if record.default_ms is None or record.tuned_ms is None:
        return f"nothing better than the default; {spent}"
    times = f"{record.tuned_ms:.4g} ms, {record.default_ms:.4g} ms before"
    return f"{times}; {spent}" if record.kept else f"the default is kept: {times}; {spent}"
