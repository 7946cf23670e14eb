"""Which stages of a plan run side by side, and which alone."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from probe_stage import Probe, ProbeOptions

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.stages.registry import STAGES
from enginesmith.pipeline.job.schedule import later, schedule


@pytest.fixture(autouse=True)
def probe_stages(monkeypatch):
    monkeypatch.setitem(STAGES, "probe", "probe_stage:Probe")
    monkeypatch.setitem(STAGES, "timed", "probe_stage:Timed")


def stage(id: str, *needs: str, kind: str = "probe", after: tuple[str, ...] = (), code: str = "", blocked: str = ""):
    roles = {need: need for need in needs}
    return PlannedStage(id, kind, ProbeOptions(code=code), needs=roles, after=after, blocked=blocked)


FORK = (stage("root"), stage("left", "root"), stage("right", "root"), stage("joined", "left", after=("right",)))


class Work:
    """Notes who runs beside whom; every stage takes a moment."""

    def __init__(self) -> None:
        self.beside: dict[str, set[str]] = {}
        self.order: list[str] = []
        self._running: set[str] = set()

    def __call__(self, planned: PlannedStage) -> None:
        self.order.append(planned.id)
        self._running.add(planned.id)
        for _ in range(20):
            self.beside.setdefault(planned.id, set()).update(self._running - {planned.id})
            time.sleep(0.01)
        self._running.remove(planned.id)


def never() -> None:
    pytest.fail("stopped")


def test_what_needs_nothing_of_each_other_runs_side_by_side():
    work = Work()
    schedule(FORK, 2, work, never)
    assert (work.order[0], work.order[-1]) == ("root", "joined")
    assert work.beside == {"root": set(), "left": {"right"}, "right": {"left"}, "joined": set()}


def test_one_job_keeps_to_the_plan():
    work = Work()
    schedule(FORK, 1, work, never)
    assert work.order == ["root", "left", "right", "joined"]
    assert not any(work.beside.values())


def test_what_takes_times_runs_alone_and_after_what_can_run_beside_others():
    work = Work()
    stages = (stage("a"), stage("time a", "a", kind="timed"), stage("b"), stage("c", "b"), stage("d", "time a"))
    schedule(stages, 2, work, never)
    assert work.order == ["a", "b", "c", "time a", "d"]
    assert work.beside["time a"] == set()


def test_builds_that_time_kernels_run_alone():
    """TensorRT's, on the GPU that they are for; TensorRT-RTX's time nothing."""
    work = Work()
    backends = ("tensorrt", "tensorrt-rtx", "tvm")
    schedule([PlannedStage(name, "probe", ProbeOptions(), backend=name) for name in backends], 3, work, never)
    assert work.beside == {"tensorrt-rtx": {"tvm"}, "tvm": {"tensorrt-rtx"}, "tensorrt": set()}


def test_it_runs_in_the_thread_that_gets_ctrl_c():
    threads = {}
    stages = (stage("a"), stage("timed", kind="timed"), stage("not here", kind="timed", blocked="no GPU"))
    schedule(stages, 2, lambda planned: threads.update({planned.id: threading.current_thread()}), never)
    assert [threads[id] is threading.main_thread() for id in ("a", "timed", "not here")] == [False, True, False]


def test_the_first_exception_stops_the_others():
    stopped = threading.Event()

    def work(planned: PlannedStage) -> None:
        if planned.id == "bad":
            raise UserError("no")
        assert stopped.wait(20)

    with pytest.raises(UserError, match="no"):
        schedule((stage("long"), stage("bad"), stage("never", "long")), 2, work, stopped.set)


def test_what_comes_later():
    blocked = stage("elsewhere", "left", blocked="no GPU")
    assert [planned.id for planned in later((*FORK, blocked), FORK[1])] == ["joined"]
    assert [planned.id for planned in later((*FORK, blocked), FORK[0])] == ["left", "right", "joined"]


SPEAK = "import time\n(context.cache.parent / '{me}').touch()\nwhile not (context.cache.parent / '{other}').exists(): time.sleep(0.01)"


def test_workers_side_by_side(probes):
    """Each waits for the other; the records are in the order of the plan."""
    probes.recipe = Recipe(model="probe", jobs=2, timeout=30)
    left, right = (SPEAK.format(me=me, other=other) for me, other in (("l", "r"), ("r", "l")))
    build = probes.run(
        stage("right", code=right), stage("left", code=left), stage("end", "left", "right", code="inputs['left']")
    )
    assert [(record.id, record.status) for record in build.records] == [
        ("right", "built"),
        ("left", "built"),
        ("end", "built"),
    ]


def test_a_bad_request_ends_the_other_worker_too(probes):
    probes.recipe = Recipe(model="probe", jobs=2)
    bad = "from enginesmith.converters.core.errors import UserError; raise UserError('give another')"
    started = time.monotonic()
    with pytest.raises(UserError, match="give another"):
        probes.run(stage("long", code="import time; time.sleep(60)"), stage("bad", code=bad))
    assert time.monotonic() - started < 30
    assert list((probes.store.root / "tmp").iterdir()) == []


def test_ctrl_c_ends_all_workers(probes):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    probes.recipe = Recipe(model="probe", jobs=2)
    press = (
        "context.progress('x'); import os, signal, time; time.sleep(0.5); os.kill({pid}, signal.SIGINT); time.sleep(60)"
    )
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            probes.run(
                stage("long", code="import time; time.sleep(60)"), stage("other", code=press.format(pid=os.getpid()))
            )
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 30
    assert list((probes.store.root / "tmp").iterdir()) == []


def test_no_template_where_all_comes_from_the_store(probes, monkeypatch):
    probes.build(a="pass")
    monkeypatch.setattr(Probe, "preload", ("no such module, and no time to find out",))
    assert [record.status for record in probes.build(a="pass").records] == ["cached"]
    assert not (probes.folder / "logs" / "templates.log").stat().st_size
