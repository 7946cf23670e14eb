"""The queue: order, places, what runs alone; and how near its schedules are to what no schedule beats."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.pipeline.farm.queue import Demand, Job, Node, Queue
from enginesmith.pipeline.farm.simulation import simulate

GB = 2**30


def test_a_job_starts_after_all_that_it_comes_after() -> None:
    queue = Queue(
        [Job("a", (), Demand(), 1), Job("b", (), Demand(), 1), Job("c", ("a", "b"), Demand(), 1)], [Node("n", 4, GB)]
    )
    assert sorted(job.id for job, _ in queue.start()) == ["a", "b"]
    queue.end("a")
    assert list(queue.start()) == []
    queue.end("b")
    assert [job.id for job, _ in queue.start()] == ["c"]
    queue.end("c")
    assert queue.over


def test_jobs_without_a_special_need_leave_special_nodes_free() -> None:
    nodes = [Node("gpu", 1, GB, frozenset(["sm_89"])), Node("plain", 1, GB)]
    queue = Queue([Job("export", (), Demand(), 1), Job("run", (), Demand(resource="sm_89"), 1)], nodes)
    assert {job.id: node.name for job, node in queue.start()} == {"export": "plain", "run": "gpu"}


def test_memory_that_is_taken_keeps_others_waiting_but_no_job_waits_for_ever() -> None:
    jobs = [Job(id, (), Demand(memory=3 * GB), 1) for id in "ab"] + [Job("huge", (), Demand(memory=99 * GB), 0.1)]
    queue = Queue(jobs, [Node("n", 8, 4 * GB)])
    for id in "ab":
        assert [job.id for job, _ in queue.start()] == [id]
        queue.end(id)
    assert [job.id for job, _ in queue.start()] == ["huge"]


def test_a_node_that_leaves_gets_no_job_and_what_it_lost_goes_elsewhere() -> None:
    queue = Queue(
        [Job("a", (), Demand(), 1), Job("b", ("a",), Demand(resource="x"), 1)], [Node("1", 1, GB), Node("2", 1, GB)]
    )
    ((job, node),) = queue.start()
    queue.leave(job.id)
    queue.again(job.id)
    ((again, other),) = queue.start()
    assert (again.id, {node.name, other.name}) == ("a", {"1", "2"})
    queue.end("a")
    assert list(queue.start()) == []
    assert [job.id for job in queue.stuck()] == ["b"]
    queue.renew([other, Node("3", 1, GB, frozenset("x"))])
    assert [node.name for _, node in queue.start()] == ["3"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 5), st.integers(1, 4))
def test_no_schedule_breaks_a_rule_and_each_ends(seed: int, count: int, machines: int, cores: int) -> None:
    draw = random.Random(seed)
    nodes = [Node(f"n{n}", cores, 4 * GB, frozenset("xy"[n % 2])) for n in range(machines)]
    kinds = ["", "x", "y"] if machines > 1 else ["", "x"]
    jobs = []
    for number in range(count):
        before = tuple({str(draw.randrange(number)) for _ in range(draw.randrange(3))}) if number else ()
        demand = Demand(draw.randint(0, 1), draw.randrange(5) * GB, draw.choice(kinds), draw.random() < 0.2)
        jobs.append(Job(str(number), before, demand, draw.random(), draw.randrange(3)))
    queue, ended, running = Queue(jobs, nodes), set(), []
    while not queue.over:
        for job, node in queue.start():
            assert ended.issuperset(job.before)
            assert not job.demand.resource or job.demand.resource in node.resources
            running.append((job, node))
            here = [other for other, place in running if place is node]
            assert sum(other.demand.cores for other in here) <= cores
            if any(other.demand.alone for other in here):
                assert sum(other.demand.alone or other.demand.cores for other in here) == 1
        job, node = running.pop(draw.randrange(len(running)))
        ended.add(job.id)
        queue.end(job.id)
    assert len(ended) == count
    assert all((node.free_cores, node.free_memory) == (node.cores, node.memory) for node in nodes)


def test_a_farm_is_near_the_bound() -> None:
    draw = random.Random(1)
    jobs = []
    for model in range(200):
        size = 10 ** draw.uniform(-1, 1)
        jobs.append(Job(f"{model} export", (), Demand(1, GB), 40 * size))
        for target in "wxyz":
            name = f"{model} {target}"
            jobs.append(Job(f"{name} compile", (f"{model} export",), Demand(1, GB), 90 * size))
            jobs.append(Job(f"{name} measure", (f"{name} compile",), Demand(1, GB, target, alone=True), 25 * size))
    found = simulate(jobs, [Node(f"n{n}", 4, 16 * GB, frozenset("wxyz"[n % 4])) for n in range(8)])
    assert 1 <= found.ratio < 1.15
