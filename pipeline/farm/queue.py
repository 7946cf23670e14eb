"""What is ready to run, in which order, and on which node it fits. Knows no process, no clock and no network: the local
driver, Ray's and the simulation are driven by it alike.

Of what fits the jobs of the highest priority come first, and among them the one with the longest path behind it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Demand:
    """What a job takes of a node: `memory` in bytes; `resource` is one that the node
    must have; `alone` takes all of its cores."""

    cores: int = 1
    memory: int = 0
    resource: str = ""
    alone: bool = False


@dataclass
class Job:
    """`before` are the ids of the jobs that must have ended; `path` the seconds from its start to the end of the last that
    waits for it."""

    id: str
    before: tuple[str, ...]
    demand: Demand
    seconds: float
    priority: int = 0
    path: float = 0.0


@dataclass
class Node:
    """A machine and what is free of it."""

    name: str
    cores: int
    memory: int
    resources: frozenset[str] = frozenset()
    free_cores: int = field(init=False)
    free_memory: int = field(init=False)

    def __post_init__(self) -> None:
        self.free_cores, self.free_memory = self.cores, self.memory

    @property
    def idle(self) -> bool:
        return self.free_cores == self.cores

    def could(self, demand: Demand) -> bool:
        """Were it idle. Memory that nobody has isn't asked for: what a stage took elsewhere is no limit."""
        return demand.cores <= self.cores and (not demand.resource or demand.resource in self.resources)

    def fits(self, demand: Demand) -> bool:
        if not self.could(demand):
            return False
        if demand.alone:
            return self.idle
        return demand.cores <= self.free_cores and (min(demand.memory, self.memory) <= self.free_memory or self.idle)

    def take(self, demand: Demand) -> None:
        self.free_cores -= self._cores(demand)
        self.free_memory -= demand.memory

    def give(self, demand: Demand) -> None:
        self.free_cores += self._cores(demand)
        self.free_memory += demand.memory

    def _cores(self, demand: Demand) -> int:
        return self.cores if demand.alone else demand.cores


class Queue:
    """The jobs that haven't ended, and the nodes that they run on."""

    def __init__(self, jobs: Iterable[Job], nodes: Iterable[Node]) -> None:
        self.nodes: dict[str, Node] = {node.name: node for node in nodes}
        self._jobs = {job.id: job for job in jobs}
        self._then: dict[str, list[str]] = {id: [] for id in self._jobs}
        self._left: dict[str, int] = {}
        self._ready: dict[Demand, list[tuple[int, float, int, Job]]] = {}
        self._number = 0
        self._running: dict[str, Node] = {}
        self._full: set[Demand] = set()
        """What is ready and fitted nowhere when it was last looked at: since then only what was freed may have room."""
        self._freed: dict[str, Node] = {}
        for job in self._jobs.values():
            self._left[job.id] = len(job.before)
            for each in job.before:
                self._then[each].append(job.id)
        _fill_paths(self._jobs, self._then)
        for job in self._jobs.values():
            if not job.before:
                self._push(job)

    @property
    def over(self) -> bool:
        return not self._running and not any(self._ready.values())

    @property
    def running(self) -> Mapping[str, Node]:
        return self._running

    def start(self) -> Iterator[tuple[Job, Node]]:
        """Jobs to begin now, each with its node, which is taken from then on. What measures alone comes when nothing else that
        is ready fits on its node."""
        while True:
            begun = False
            for demand in sorted(self._classes(), key=lambda each: (each.alone, self._ready[each][0][:2])):
                node = self._place(demand)
                if node is None:
                    self._full.add(demand)
                    continue
                *_, job = heapq.heappop(self._ready[demand])
                if not self._ready[demand]:
                    del self._ready[demand]
                node.take(demand)
                self._running[job.id] = node
                begun = True
                yield job, node
                break
            if not begun:
                self._freed.clear()
                self._full.intersection_update(self._classes())
                return

    def end(self, id: str) -> None:
        """A job has ended, however: what waited for all that has ended is ready."""
        self._free(id)
        self._end(id)

    def _end(self, id: str) -> None:
        for each in self._then[id]:
            self._left[each] -= 1
            if not self._left[each]:
                self._push(self._jobs[each])

    def again(self, id: str) -> None:
        """A job is to be begun once more."""
        self._free(id)
        self._push(self._jobs[id])

    def renew(self, nodes: Iterable[Node]) -> None:
        """These are the nodes now: what runs on one that is gone is still told to end."""
        found = {node.name: node for node in nodes}
        for name in [name for name in self.nodes if name not in found]:
            del self.nodes[name]
            self._freed.pop(name, None)
        for name, node in found.items():
            if name not in self.nodes:
                self.nodes[name] = self._freed[name] = node

    def leave(self, id: str) -> None:
        """The node that a job runs on gets no other."""
        gone = self._running[id].name
        self.nodes.pop(gone, None)
        self._freed.pop(gone, None)

    def stuck(self) -> list[Job]:
        """The jobs that are ready and that no node could run, were it idle."""
        nowhere = [each for each in self._classes() if not any(node.could(each) for node in self.nodes.values())]
        return [job for demand in nowhere for *_, job in self._ready[demand]]

    def drop(self, job: Job) -> None:
        """One of those ends without having run."""
        self._ready[job.demand] = [each for each in self._ready[job.demand] if each[-1] is not job]
        self._end(job.id)

    def _free(self, id: str) -> None:
        node = self._running.pop(id)
        node.give(self._jobs[id].demand)
        if node is self.nodes.get(node.name):
            self._freed[node.name] = node

    def _push(self, job: Job) -> None:
        self._number += 1
        heapq.heappush(self._ready.setdefault(job.demand, []), (-job.priority, -job.path, self._number, job))

    def _classes(self) -> Iterator[Demand]:
        return (demand for demand, ready in self._ready.items() if ready)

    def _place(self, demand: Demand) -> Node | None:
        """Where it fits, the node that has least of what others want."""
        nodes = self._freed if demand in self._full else self.nodes
        fitting = [node for node in nodes.values() if node.fits(demand)]
        return min(fitting, key=lambda node: (len(node.resources), node.free_cores), default=None)


def _fill_paths(jobs: Mapping[str, Job], then: Mapping[str, list[str]]) -> None:
    """Jobs come after those before them in the mapping."""
    for id in reversed(list(jobs)):
        jobs[id].path = jobs[id].seconds + max((jobs[each].path for each in then[id]), default=0.0)
