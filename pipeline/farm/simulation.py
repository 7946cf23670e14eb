"""The queue without work: recorded seconds instead of stages, a clock that jumps, any number of nodes."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from enginesmith.pipeline.farm.queue import Job, Node, Queue


@dataclass(frozen=True)
class Simulated:
    """Seconds. `bound` is what no schedule beats: the longest path, or the work of the jobs over the cores that can do it."""

    makespan: float
    bound: float
    jobs: int

    @property
    def ratio(self) -> float:
        return self.makespan / self.bound


def simulate(jobs: Sequence[Job], nodes: Iterable[Node]) -> Simulated:
    """Run the jobs, each for its `seconds`, on the nodes."""
    machines = list(nodes)
    bound = lower_bound(jobs, machines)
    queue = Queue(jobs, machines)
    now, number = 0.0, 0
    ends: list[tuple[float, int, str]] = []
    while not queue.over:
        for job, _ in queue.start():
            number += 1
            heapq.heappush(ends, (now + job.seconds, number, job.id))
        if not ends:
            raise ValueError(f"no node can run {queue.stuck()[0].id}")
        now, _, id = heapq.heappop(ends)
        queue.end(id)
        while ends and ends[0][0] == now:
            queue.end(heapq.heappop(ends)[2])
    bound = max(bound, max((job.path for job in jobs if not job.before), default=0.0))
    return Simulated(now, bound, len(jobs))


def lower_bound(jobs: Iterable[Job], nodes: Sequence[Node]) -> float:
    """Of the makespan, by work alone: all of it over all cores, and that of each resource over the nodes that have it. What
    runs alone takes all cores of the smallest node that could."""
    cores = sum(node.cores for node in nodes)
    work: dict[str, float] = {}
    for job in jobs:
        if job.demand.cores:
            able = [node.cores for node in nodes if node.could(job.demand)]
            taken = job.seconds * (min(able, default=math.inf) if job.demand.alone else job.demand.cores)
            work[""] = work.get("", 0.0) + taken
            if job.demand.resource:
                work[job.demand.resource] = work.get(job.demand.resource, 0.0) + taken
    having = {key: sum(node.cores for node in nodes if not key or key in node.resources) for key in work}
    return max((amount / having[key] for key, amount in work.items()), default=0.0) if cores else math.inf
