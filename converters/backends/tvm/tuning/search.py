"""The search: time goes first to the kernels where most is to be gained, until nothing is left or time is up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from enginesmith.converters.backends.tvm.kernels.choose import GAIN
from enginesmith.converters.backends.tvm.kernels.schedule import Schedule
from enginesmith.converters.backends.tvm.kernels.workload import Tuned, Workload, load_schedule
from enginesmith.converters.backends.tvm.tuning.database import Choice, Database, Record
from enginesmith.converters.backends.tvm.tuning.tasks import Group, Task
from enginesmith.converters.backends.tvm.tuning.walk import PROMISING
from enginesmith.converters.core.clock import Clock, Stop
from enginesmith.converters.core.isolated import FAILED

SURE = 3
"""Times as many rounds for what seems to be faster than the best: it is measured again before it counts."""
HOPELESS = 1.25
"""A kernel that takes so many times as long as another one for the same convolution isn't tuned."""


class Race(Protocol):
    """`trial.race` on a machine. Raises what `isolated.FAILED` holds."""

    def __call__(self, entrants: Sequence[Mapping[str, Any]], more: int) -> list[float]: ...


class Search:
    """Tunes the kernels of `groups` for a number of threads. Whatever is measured goes into the database first."""

    def __init__(
        self,
        groups: Iterable[Group],
        database: Database,
        threads: int,
        clock: Clock,
        tell: Callable[[str, float | None], None] = lambda text, fraction: None,
        *,
        remote: bool = False,
    ) -> None:
        """Of failures on `remote` machines only wrong results are remembered: others may be those of the network."""
        self.groups = list(groups)
        self.remote = remote
        self.database, self.threads, self.clock, self.tell = database, threads, clock, tell
        self.choices: dict[str, Choice] = {}
        self.made = 0
        """Measurements of this search, failures among them."""
        self.remembered = 0
        """Measurements that were in the database already."""
        self.failures: list[str] = []
        self.stopped = ""
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._remember()

    def run(self, races: Sequence[Race]) -> None:
        """On as many machines as there are races. Raises UserError where a machine can't be reached."""
        contests = {group.geometry: group for group in sorted(self.groups, key=lambda group: group.calls)}
        contests.pop("", None)
        try:
            for geometry, group in contests.items():
                if geometry not in self.choices:
                    self.clock.check()
                    self._contest(group, races[0])
            self._drop_hopeless()
            with ThreadPoolExecutor(len(races)) as pool:
                for worker in [pool.submit(self._work, race) for race in races]:
                    worker.result()
        except Stop as end:
            self.stopped = str(end)
        for group in contests.values():
            if any(task.walk.ratio < 1 for task in group.rivals.values()):
                self._contest(group, races[0])

    def tuned(self, *, heavy: bool = True) -> Tuned:
        """The best of all that is known; on request without schedules for heavy workloads, which are the hardest to time
        alone."""
        tasks = [task for group in self.groups for task in group.rivals.values() if heavy or not task.workload.heavy]
        schedules = {task.workload.key: task.walk.best for task in tasks if task.walk.ratio < 1}
        return Tuned(schedules, {geometry: best_size(choice) for geometry, choice in self.choices.items()})

    def times(self, group: Group) -> tuple[float, float]:
        """Milliseconds of one call with the default kernel, and with the best one, as far as measured."""
        choice, size = self.choices.get(group.geometry), self.size(group)
        times = choice.milliseconds if choice else {}
        default = group.given.default or times.get(group.size, 0.0)
        best = default * group.given.walk.ratio
        return default, best if size == group.size else best * times[size] / times[group.size]

    def size(self, group: Group) -> int:
        """Of the best kernel for a group."""
        choice = self.choices.get(group.geometry)
        return best_size(choice) if choice and group.size in choice.milliseconds else group.size

    def gain(self) -> float:
        """Share of the kernels' time that the search has taken off."""
        times = [(group.calls, *self.times(group)) for group in self.groups]
        before, after = sum(calls * old for calls, old, _ in times), sum(calls * new for calls, _, new in times)
        return 1 - after / before if before else 0.0

    def _remember(self) -> None:
        tasks = {task.workload.key: task for group in self.groups for task in group.rivals.values()}
        geometries = {group.geometry for group in self.groups}
        for record in self.database.read():
            if record.threads != self.threads:
                continue
            if isinstance(record, Choice):
                self.choices[record.geometry] = record
                self.remembered += record.geometry in geometries
            elif (task := tasks.get(record.workload)) is not None and _learn(task, record):
                self.remembered += 1
        for task in tasks.values():
            task.walk.stale = 0  # a search that goes on looks around once more

    def _work(self, race: Race) -> None:
        """Take the task with most to gain, measure one of its schedules, until none is left. Raises Stop."""
        while (task := self._next()) is not None:
            try:
                self._measure(task, race)
            finally:
                with self._lock:
                    self._busy.discard(task.workload.key)

    def _next(self) -> Task | None:
        with self._lock:
            self.clock.check()
            waiting = [
                (group.worth(task), task)
                for group in self.groups
                for task in group.open
                if task.workload.key not in self._busy
            ]
            if not waiting:
                return None
            _, task = max(waiting, key=lambda pair: pair[0])
            self._busy.add(task.workload.key)
            return task

    def _measure(self, task: Task, race: Race) -> None:
        schedule = task.walk.propose()
        if schedule is None:
            task.closed = True
            return
        record = Record(
            workload=task.workload.key, label=task.workload.label, threads=self.threads, schedule=vars(schedule)
        )
        pair = [entrant(task.workload), entrant(task.workload, schedule)]
        try:
            record.default_milliseconds, record.milliseconds = race(pair, 1)
            if record.ratio is not None and record.ratio < PROMISING * task.walk.ratio:
                record.default_milliseconds, record.milliseconds = race(pair, SURE)
        except FAILED as error:
            record.failed = self._failure(error)
        with self._lock:
            if not (record.failed and self.remote) or record.failed.startswith(ValueError.__name__):
                self.database.add(record)
            _learn(task, record)
            self.made += 1
            self._report()

    def _contest(self, group: Group, race: Race) -> None:
        """Which of several kernels for a convolution, each with its best schedule: in turn."""
        best = {size: entrant(task.workload, task.walk.best) for size, task in group.rivals.items()}
        try:
            times = race(list(best.values()), SURE)
        except FAILED as error:
            self._failure(error)
            return
        choice = Choice(
            geometry=group.geometry,
            label=group.given.workload.label,
            threads=self.threads,
            milliseconds=dict(zip(best, times, strict=True)),
        )
        with self._lock:
            self.database.add(choice)
            self.choices[group.geometry] = choice
            self.made += 1
            self._report()

    def _drop_hopeless(self) -> None:
        for group in self.groups:
            if choice := self.choices.get(group.geometry):
                least = min(choice.milliseconds.values())
                for size, task in group.rivals.items():
                    task.closed = choice.milliseconds.get(size, 0.0) > HOPELESS * least
            else:
                for task in group.rivals.values():
                    task.closed = task is not group.given

    def _failure(self, error: Exception) -> str:
        text = str(error)
        self.failures.append(text)
        return text

    def _report(self) -> None:
        tasks = [group.given for group in self.groups]
        begun = sum(1 for task in tasks if task.default)
        seconds = self.clock.seconds
        share = None if not seconds else min(1.0, 1 - self.clock.left / seconds)
        text = f"{self.made} measurements, {begun} of {len(tasks)} kernels, {self.gain():.1%} of their time taken off"
        self.tell(text, share)


def entrant(workload: Workload, schedule: Schedule | None = None) -> dict[str, Any]:
    """What `trial.race` takes."""
    return {"workload": workload.dump(), "schedule": schedule and vars(schedule)}


def best_size(choice: Choice) -> int:
    """Winograd's rounding error is larger, so it has to be clearly faster than the direct convolution."""
    times = choice.milliseconds
    return min(times, key=lambda size: times[size] / GAIN if size else times[size])


def _learn(task: Task, record: Record) -> bool:
    """Take a record into account; False for one of another space."""
    try:
        schedule = load_schedule(task.workload.kind, record.schedule)
    except TypeError:
        return False
    if not schedule.within(task.walk.space):
        return False
    if record.default_milliseconds is not None:
        task.default = min(task.default or float("inf"), record.default_milliseconds)
    task.measurements += 1
    if record.failed:
        task.failures.append(record.failed)
    task.walk.learn(schedule, record.ratio)
    return True
