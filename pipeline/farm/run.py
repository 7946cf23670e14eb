"""A run of a farm: every task once, in the order of the queue, on whatever the driver has; each cell is finished as soon as
its last stage has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from enginesmith.pipeline.farm.cells import Cell
from enginesmith.pipeline.farm.costs import Costs
from enginesmith.pipeline.farm.driver import Done, Driver
from enginesmith.pipeline.farm.poison import Poison
from enginesmith.pipeline.farm.queue import Queue
from enginesmith.pipeline.farm.records import CellRecord
from enginesmith.pipeline.farm.tasks import Task
from enginesmith.pipeline.job.artifacts import Build
from enginesmith.pipeline.job.entry import Entry
from enginesmith.pipeline.job.fates import begin_again, missing, waiting_record
from enginesmith.pipeline.job.manifest import PASSED, StageRecord

LOOK = 0.25
"""Seconds between looks at the clock and the nodes."""
NODES = 5.0
"""Seconds between looks at which nodes there are."""
LOSSES = 2
"""Nodes that a stage may lose beyond its attempts: they may be innocent of each other."""
SHUNNED = 15.0
"""Seconds in which a node that lost a stage gets none: a cluster takes as long to see that it is dead."""


@dataclass
class CellState:
    """A cell while it is worked on. `now` is what its stages do; `left` the number of those that haven't ended."""

    cell: Cell
    build: Build
    left: int
    now: dict[str, str] = field(default_factory=dict)
    """Text by the id of a running stage."""
    begun: dict[str, float] = field(default_factory=dict)
    unfinished: str = ""
    record: CellRecord | None = None


@dataclass
class Farm:
    """The tasks of the cells, and what has become of them. `finish` makes the results of a cell, and its record."""

    cells: Sequence[Cell]
    tasks: Mapping[str, Task]
    costs: Costs
    poison: Poison
    attempts: int
    finish: Callable[[CellState], CellRecord]
    seconds: float | None = None
    """That the run may take."""
    moved: Callable[[], None] = lambda: None
    """Called whenever something has changed."""
    states: list[CellState] = field(init=False)
    built: int = field(default=0, init=False)
    crashes: int = field(default=0, init=False)
    bugs: list[str] = field(default_factory=list, init=False)
    work_left: float = field(default=0.0, init=False)
    """Seconds of work, as far as is known."""

    def __post_init__(self) -> None:
        self.states = [
            CellState(cell, Build([waiting_record(planned) for planned in cell.plan.stages]), len(cell.plan.stages))
            for cell in self.cells
        ]
        self._records = [{record.id: record for record in state.build.records} for state in self.states]
        self._seen: list[tuple[str, StageRecord]] = []
        self._lost: dict[str, int] = {}
        self._shunned: dict[str, float] = {}
        self._finished: list[Future[None]] = []
        self.work_left = sum(task.job.seconds for task in self.tasks.values())

    def run(self, driver: Driver) -> None:
        """Returns when every cell is finished, or has no time left. An exception, Ctrl-C among them, stops what runs; what
        was done by then is in the states and the store."""
        started = looked = time.monotonic()
        queue = Queue([task.job for task in self.tasks.values()], driver.nodes())
        stuck_since = 0.0
        with ThreadPoolExecutor(1) as self._pool:
            try:
                while not queue.over:
                    late = self.seconds is not None and time.monotonic() - started > self.seconds
                    for job, node in queue.start():
                        task = self.tasks[job.id]
                        if self._settled_at_once(task, late):
                            queue.end(job.id)
                        else:
                            for index, planned in task.owners:
                                self.states[index].now[planned.id] = ""
                                self.states[index].begun[planned.id] = time.monotonic()
                            lead = self.states[task.lead[0]]
                            driver.start(task, node, lead.cell, lead.build)
                    self.moved()
                    if not queue.running:  # all is done, or waits for a node
                        time.sleep(0 if queue.over else LOOK)
                    for done in driver.wait(LOOK) if queue.running else ():
                        self._ended(done, queue)
                    if (now := time.monotonic()) - looked > NODES or (self._shunned and not queue.running):
                        looked = now
                        self._shunned = {name: until for name, until in self._shunned.items() if until > now}
                        queue.renew(node for node in driver.nodes() if node.name not in self._shunned)
                    stuck = [] if queue.running else queue.stuck()
                    stuck_since = (stuck_since or now) if stuck else 0.0
                    if stuck and now - stuck_since > driver.patience:
                        for job in stuck:
                            self._settle(self.tasks[job.id], "not run", f"no node has {job.demand.resource or 'room'}")
                            queue.drop(job)
            except BaseException:
                driver.stop()
                raise
            finally:
                driver.close()
                self.costs.remember(self._seen)
        for each in self._finished:
            each.result()
        self.moved()

    def _settled_at_once(self, task: Task, late: bool) -> bool:
        """Of what needs no process: a stage whose predecessors failed, that runs nowhere, that was given up, that is late."""
        index, planned = task.lead
        state = self.states[index]
        if missing(planned, self._records[index], keep_going=state.cell.recipe.keep_going):
            for owner, stage in task.owners:
                keep_going = self.cells[owner].recipe.keep_going
                self._end(task, owner, stage.id, "skipped", missing(stage, self._records[owner], keep_going=keep_going))
        elif planned.blocked:
            self._settle(task, "not run", planned.blocked)
        elif late:
            for owner, _ in task.owners:
                self.states[owner].unfinished = f"the run's time of {self.seconds:g} s was over before {planned.id}"
            self._settle(task, "skipped", "no time was left")
        elif (crashes := self.poison.crashes(task.job.id)) >= self.attempts:
            self._settle(
                task,
                "failed",
                f"given up: it crashed its process {crashes} times",
                "`enginesmith farm retry` tries it again; see its log of an earlier run",
            )
        else:
            return False
        return True

    def _settle(self, task: Task, status: str, error: str, remedy: str = "") -> None:
        for owner, stage in task.owners:
            self._end(task, owner, stage.id, status, error, remedy)

    def _end(self, task: Task, owner: int, stage: str, status: str, error: str, remedy: str = "") -> None:
        record = self._records[owner][stage]
        record.status, record.error, record.remedy = status, error, remedy  # type: ignore[assignment]
        if (owner, stage) == (task.lead[0], task.lead[1].id):
            self.work_left -= task.job.seconds
        self._left(owner, stage)

    def _ended(self, done: Done, queue: Queue) -> None:
        task = self.tasks[done.id]
        index, planned = task.lead
        crashed = bool(done.lost) or (done.record is not None and done.record.crashed)
        if crashed:
            self.crashes += 1
            if done.lost:  # of the node the stage may be innocent
                self._lost[done.id] = self._lost.get(done.id, 0) + 1
                self._shunned[queue.running[done.id].name] = time.monotonic() + SHUNNED
                queue.leave(done.id)
            else:
                self.poison.crashed(done.id)
            if self.poison.crashes(done.id) < self.attempts and self._lost.get(done.id, 0) < self.attempts + LOSSES:
                begin_again(self._records[index][planned.id], planned)
                queue.again(done.id)
                return
        record = done.record or self._records[index][planned.id]
        if done.record is None:
            record.status, record.error = "failed", f"given up: {done.lost}"
        elif not crashed:
            self.poison.forgive(done.id)
        if record.status == "built":
            self.built += 1
        if record.status in PASSED:
            self._seen.append((done.id, record))
        self.bugs += done.bugs
        self.work_left -= task.job.seconds
        queue.end(done.id)
        self._spread(task, record, done.entry)

    def _spread(self, task: Task, record: StageRecord, entry: Entry | None) -> None:
        """What the lead's stage came to is what those of the other cells come to."""
        for owner, stage in task.owners:
            if (owner, stage.id) == (task.lead[0], task.lead[1].id):
                self._replace(owner, record)
            else:
                other = {"id": stage.id, "needs": stage.needs, "after": list(stage.after)}
                status = "cached" if record.status == "built" else record.status
                self._replace(owner, record.model_copy(update={**other, "status": status}))
            if entry is not None:
                self.states[owner].build.entries[stage.id] = entry
            self._left(owner, stage.id)

    def _replace(self, owner: int, record: StageRecord) -> None:
        records = self.states[owner].build.records
        place = next(number for number, each in enumerate(records) if each.id == record.id)
        records[place] = self._records[owner][record.id] = record

    def _left(self, owner: int, stage: str) -> None:
        state = self.states[owner]
        state.now.pop(stage, None)
        state.left -= 1
        if not state.left:
            self._finished.append(self._pool.submit(self._finish, state))

    def _finish(self, state: CellState) -> None:
        state.record = self.finish(state)
        self.moved()
