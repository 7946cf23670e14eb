"""Times of calls that alternate, so that all meet the same load."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from pydantic import BaseModel

MOST_RUNS = 200
FEWEST_RUNS = 3
"""Of each, unless a single turn takes longer than the whole time given: then one."""


class Spread(BaseModel):
    """Milliseconds of so many runs."""

    runs: int
    mean: float
    low: float
    p50: float
    p90: float
    p99: float
    high: float


def in_turn(
    calls: Sequence[Callable[[], float]],
    seconds: float,
    told: Callable[[int, float], None] = lambda runs, share: None,
    most: int = MOST_RUNS,
) -> list[list[float]]:
    """The seconds that each call says it took, in the order of the runs, for about so many `seconds` in all. `told` gets the
    number of runs and the share that is done.
    """
    times: list[list[float]] = [[] for _ in calls]
    turn = list(zip(calls, times, strict=True))
    for call in calls:  # warm up: pages, thread pools, lazy initialisation
        call()
    started = time.monotonic()
    while len(times[0]) < most:
        for call, into in turn:
            into.append(call())
        turn.reverse()  # neither always runs in the other's wake
        spent = time.monotonic() - started
        runs = len(times[0])
        told(runs, min(spent / seconds, 1.0))
        if spent > seconds and (runs >= FEWEST_RUNS or spent / runs > seconds):
            break
    return times


def spread(seconds: Sequence[float]) -> Spread:
    """Percentiles are runs that there were: the nearest rank."""
    times = sorted(each * 1e3 for each in seconds)

    def at(share: float) -> float:
        return times[max(math.ceil(share * len(times)) - 1, 0)]

    return Spread(
        runs=len(times),
        mean=sum(times) / len(times),
        low=times[0],
        p50=at(0.5),
        p90=at(0.9),
        p99=at(0.99),
        high=times[-1],
    )
