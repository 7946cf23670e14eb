"""In which order the stages of a plan run, and which side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import psutil

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.stages.registry import load_stage

A_JOB = 4 * 2**30
"""Bytes of free memory that count as enough for one more stage."""


def schedule(
    stages: Sequence[PlannedStage], jobs: int, work: Callable[[PlannedStage], None], stop: Callable[[], None]
) -> None:
    """Call `work` for every stage, in threads, after all stages that it needs or comes after; at most `jobs` at a
    time, and with 0 as many as there are cores, as long as memory is free.

    A stage that wants to be alone is called in this thread, when nothing else runs or could. Among those that could run the
    order is that of the plan. The first exception calls `stop`, by which the others must come to an end, and is raised.
    """
    waiting = list(stages)
    done: set[str] = set()
    running: dict[Future[None], PlannedStage] = {}
    most = jobs or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(most) as pool:
        try:
            while waiting or running:
                ready = [stage for stage in waiting if done.issuperset(before(stage))]
                together = [stage for stage in ready if not _alone(stage)]
                for stage in together[: most - len(running)]:
                    if not running or jobs or psutil.virtual_memory().available > A_JOB:
                        waiting.remove(stage)
                        running[pool.submit(work, stage)] = stage
                if running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        done.add(running.pop(future).id)
                        future.result()
                else:
                    waiting.remove(ready[0])
                    work(ready[0])
                    done.add(ready[0].id)
        except BaseException:
            stop()
            raise


def before(stage: PlannedStage) -> set[str]:
    """Ids of the stages that must have ended."""
    return {*stage.needs.values(), *stage.after}


def later(stages: Sequence[PlannedStage], first: PlannedStage) -> Iterator[PlannedStage]:
    """The stages that depend on `first`, however indirectly, and that this machine can run."""
    reached = {first.id}
    for stage in stages:
        if reached & before(stage):
            reached.add(stage.id)
            if not stage.blocked:
                yield stage


def _alone(stage: PlannedStage) -> bool:
    """What takes times wants the machine for itself; what Ctrl-C asks to end must be the only one that it can mean."""
    kind = load_stage(stage.stage)
    backend = get_backend(stage.backend).alone if stage.backend else False
    return not stage.blocked and (kind.alone or kind.interruptible or backend)
