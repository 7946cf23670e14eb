"""How fast an engine starts and answers, and what it takes. Called by name in `Isolated`: arguments and results are JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from enginesmith.converters.core.samples import Array
from enginesmith.converters.core.timing import Spread, in_turn, spread
from enginesmith.converters.serving.feeds import FeedOptions, fed, feed_of
from enginesmith.converters.serving.runners import runner_of

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

START = f"{__name__}:start"
AGAINST = f"{__name__}:against"
READY = f"{__name__}:ready"
KEEP_BUSY = f"{__name__}:keep_busy"
MOST_RUNS = 20_000


class Start(BaseModel):
    """Milliseconds until an engine is loaded, and until its first answer from then on: in a new process, which imports what
    runs it, and once more in the same one. MB of memory that no other process shares.
    """

    cold_load_ms: float
    cold_first_ms: float
    warm_load_ms: float
    warm_first_ms: float
    before_mb: float
    loaded_mb: float
    """With the engine, after its first answer."""
    shapes: dict[str, list[int]]


class Against(BaseModel):
    """An engine and ONNX Runtime on the same graph and the same inputs, in turn. `ratio` is the engine's time by ONNX Runtime's, of
    each pair: its median, and where the middle 80% lie."""

    engine: Spread
    onnxruntime: Spread
    ratio: float
    ratio_low: float
    ratio_high: float


class Level(BaseModel):
    """So many processes at once, each with an engine of its own, that ask as soon as they are answered."""

    concurrency: int
    threads: int
    """Of each."""
    per_second: float
    """Inputs, each row of a batch counted."""
    latency: Spread


def start(file: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """A `Start`, in a process that has loaded nothing yet. `told` are `FeedOptions`."""
    options, path = FeedOptions.model_validate(told), Path(file)
    before = _memory()
    load, first, feed = _once(path, options, {})
    loaded = _memory()
    again = _once(path, options, feed)
    return Start(
        cold_load_ms=load * 1e3,
        cold_first_ms=first * 1e3,
        warm_load_ms=again[0] * 1e3,
        warm_first_ms=again[1] * 1e3,
        before_mb=before,
        loaded_mb=loaded,
        shapes={name: list(array.shape) for name, array in feed.items()},
    ).model_dump()


def against(file: str, graph: str, told: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """An `Against`: an engine, and ONNX Runtime as it ships on a graph, for about so many seconds."""
    from enginesmith.converters.graphs.comparison import ONNXRUNTIME

    options, path = FeedOptions.model_validate(told), Path(file)
    other = options.model_copy(update={"backend": ONNXRUNTIME})
    with _open(path, options) as engine, _open(Path(graph), other) as reference:
        feed = feed_of(engine, path, options)
        calls = [partial(_timed, engine, fed(path, options.backend, feed)), partial(_timed, reference, feed)]
        times = in_turn(calls, seconds, most=MOST_RUNS)
    ratios = sorted(mine / its for mine, its in zip(*times, strict=True))
    return Against(
        engine=spread(times[0]),
        onnxruntime=spread(times[1]),
        ratio=ratios[len(ratios) // 2],
        ratio_low=ratios[len(ratios) // 10],
        ratio_high=ratios[-1 - len(ratios) // 10],
    ).model_dump()


_ready: list[tuple[BaseRunner, Mapping[str, Array]]] = []
"""The engine of this process, and what it is fed; it ends with it."""


def ready(file: str, told: Mapping[str, Any]) -> int:
    """Load an engine to keep busy, and let it answer once; the rows of a batch."""
    options, path = FeedOptions.model_validate(told), Path(file)
    runner = _open(path, options)
    runner.activate()
    feed = fed(path, options.backend, feed_of(runner, path, options))
    runner.infer(feed, check_inputs=False)
    _ready.append((runner, feed))
    return max((array.shape[0] for array in feed.values() if array.ndim), default=1)


def keep_busy(file: str, begin: float, seconds: float) -> list[float]:
    """Seconds of each answer, copies among them, from the time `begin` on."""
    runner, feed = _ready[0]
    time.sleep(max(begin - time.time(), 0.0))
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while not times or time.perf_counter() < ends:
        began = time.perf_counter()
        runner.infer(feed, check_inputs=False)
        times.append(time.perf_counter() - began)
    return times


def _once(path: Path, options: FeedOptions, feed: Mapping[str, Array]) -> tuple[float, float, Mapping[str, Array]]:
    """Seconds to load an engine, and to its first answer; and what it was fed, made up where nothing was."""
    began = time.perf_counter()
    with _open(path, options) as runner:
        load = time.perf_counter() - began
        feed = feed or fed(path, options.backend, feed_of(runner, path, options))
        began = time.perf_counter()
        runner.infer(feed, check_inputs=False)
        return load, time.perf_counter() - began, feed


def _open(path: Path, options: FeedOptions) -> BaseRunner:
    return runner_of(options.backend, path, options.threads, shipped=True)


def _timed(runner: BaseRunner, feed: Mapping[str, Array]) -> float:
    runner.infer(feed, check_inputs=False)
    return float(runner.last_inference_time())


def _memory() -> float:
    import psutil

    return float(psutil.Process().memory_full_info().uss) / 1e6
