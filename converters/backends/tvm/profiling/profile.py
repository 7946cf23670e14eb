"""Both sides run in turn, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import onnx
from numpy.typing import NDArray

from enginesmith.converters.backends.tvm.profiling.calls import CallTimes
from enginesmith.converters.backends.tvm.profiling.groups import groups
from enginesmith.converters.backends.tvm.profiling.rates import Meter
from enginesmith.converters.backends.tvm.profiling.reference import KernelTimes
from enginesmith.converters.core.engine_layers import Layers, Profile

MOST_RUNS, FEWEST_RUNS = 30, 3
BLOCK = 5
"""Runs of one side in a row; the first doesn't count, since the other side's data is in the caches and its threads are about
to fall asleep."""
SLOW = 0.25
"""Seconds of an inference from which it makes no difference who ran before."""


def profile(
    runner: Any,
    target: str,
    model: Path,
    feeds: tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]],
    threads: int,
    seconds: float,
    scratch: Path,
) -> Profile | None:
    """Take some `seconds` for the layers of the module that `runner` has loaded, and for ONNX Runtime's kernels.

    `feeds` are the engine's inputs and the model's. None for an engine whose layers nobody has written down, and for
    shapes for which it has other layers than those.
    """
    listed = Layers.beside(runner.engine)
    given = {name: list(array.shape) for name, array in feeds[0].items()}
    if listed is None or (runner.shapes and runner.shapes[0] != given):
        return None
    meter = Meter(target, threads)
    before = meter.read()
    engine = CallTimes(runner, listed.layers)
    reference = KernelTimes(model, threads, scratch)
    sides: list[tuple[CallTimes | KernelTimes, Mapping[str, NDArray[Any]]]] = [
        (engine, feeds[0]),
        (reference, feeds[1]),
    ]
    first = [side.run(feed, counted=False) for side, feed in sides]
    fewest = FEWEST_RUNS if FEWEST_RUNS * max(first) < seconds else 1
    started = time.monotonic()
    while len(engine.whole) < MOST_RUNS and (len(engine.whole) < fewest or time.monotonic() - started < seconds):
        for (side, feed), one in zip(sides, first, strict=True):
            if one > SLOW:
                side.run(feed)
                continue
            side.run(feed, counted=False)
            for _ in range(BLOCK - 1):
                side.run(feed)
    layer_times = engine.milliseconds
    kernel_times = reference.milliseconds()
    graph = onnx.load(str(model), load_external_data=False).graph
    return Profile(
        threads=threads,
        runs=len(engine.whole),
        layers_ms=layer_times,
        engine_ms=1e3 * median(engine.whole),
        onnxruntime_ms=1e3 * median(reference.whole),
        onnxruntime_kernels_ms=sum(kernel_times.values()),
        groups=groups(graph, listed.layers, layer_times, reference.optimized, kernel_times),
        before=before,
        after=meter.read(),
    )
