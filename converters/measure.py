"""Time an engine against ONNX Runtime on the same graph: in turn, in one process, on the same threads."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from enginesmith.converters import interface
from enginesmith.converters.backends import get_backend, onnxruntime
from enginesmith.converters.inputs import written
from enginesmith.converters.layers import Layers, Profile
from enginesmith.converters.records import Latency
from enginesmith.converters.samples import Array, SampleSet
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

MOST_RUNS = 200
FEWEST_RUNS = 3
"""Of each, unless a single pair takes longer than the whole time given: then one."""
PROFILE_SECONDS = 2.0
"""For the times of layers, at most."""


class MeasureOptions(Options):
    """`seconds` to spend, about, on all shapes; `threads` 0 for one per core. `machine` only makes the machine part of the key."""

    backend: str
    target: str
    seconds: float = Field(gt=0)
    threads: int
    machine: str


class Measure(Stage[MeasureOptions]):
    """Medians of runs that alternate, so that both meet the same load; for each of the shapes that were listed."""

    name = "measure"
    options = MeasureOptions
    alone = True
    without_torch = True

    def packages_of(self, options: MeasureOptions) -> tuple[str, ...]:
        return ("polygraphy", "onnxruntime", "onnxruntime-gpu", *get_backend(options.backend).packages)

    def run(self, inputs: Mapping[str, Path], options: MeasureOptions, context: Context) -> Facts:
        backend = get_backend(options.backend)
        samples, feeds = SampleSet.load(inputs["samples"])
        threads = options.threads or len(os.sched_getaffinity(0))
        changed = interface.load(inputs["engine"])
        chosen = [0, *(i for i, sample in enumerate(samples.samples) if sample.listed)]
        timed = []
        with (
            backend.runner(inputs["engine"] / backend.engine_file, threads=threads) as engine,
            onnxruntime.runner(inputs["model"] / MODEL, threads=threads) as reference,
        ):
            for feed in (feeds[index] for index in chosen):
                sides = ((engine, interface.fed(changed, feed)), (reference, feed))
                latency = _time(sides, options.seconds / len(chosen), threads, context)
                shapes = written({name: array.shape for name, array in feed.items()}) if len(chosen) > 1 else ""
                timed.append(latency.model_copy(update={"shapes": shapes}))
        first, *others = timed
        profile, warnings = self._profile(inputs, options, threads, feeds[0], context)
        return Facts(
            latency=first.model_copy(update={"others": others}),
            profile=profile,
            warnings=warnings,
            note="; ".join(latency.verdict for latency in timed),
        )

    def _profile(
        self,
        inputs: Mapping[str, Path],
        options: MeasureOptions,
        threads: int,
        feed: Mapping[str, Array],
        context: Context,
    ) -> tuple[Profile | None, list[str]]:
        """Layer by layer, for an engine whose layers are known; and why not, where that can't be had."""
        backend = get_backend(options.backend)
        path = inputs["engine"] / backend.engine_file
        if Layers.beside(path) is None:
            return None, []
        from enginesmith.converters.profiling.profile import profile
        from enginesmith.converters.profiling.reference import Untimed

        context.progress("layer by layer")
        feeds = (interface.fed(interface.load(inputs["engine"]), feed), feed)
        seconds = min(options.seconds, PROFILE_SECONDS)
        model = inputs["model"] / MODEL
        try:
            with backend.runner(path, threads=threads) as engine:
                return profile(engine, options.target, model, feeds, threads, seconds, context.scratch), []
        except Untimed as error:
            return None, [f"layers were not timed: {error}"]


def _time(
    sides: Sequence[tuple[BaseRunner, Mapping[str, Array]]], seconds: float, threads: int, context: Context
) -> Latency:
    """Medians of an engine and ONNX Runtime, each with its feed, in turn for about so many seconds."""
    load_before = os.getloadavg()[0]
    times: list[list[float]] = [[], []]
    turn = [(*side, into) for side, into in zip(sides, times, strict=True)]
    for runner, given in sides:  # warm up: pages, thread pools, lazy initialisation
        runner.infer(given)
    started = time.monotonic()
    while len(times[0]) < MOST_RUNS:
        for runner, given, into in turn:
            runner.infer(given)
            into.append(runner.last_inference_time())
        turn.reverse()  # neither always runs in the other's wake
        spent = time.monotonic() - started
        runs = len(times[0])
        context.progress(f"run {runs}", min(spent / seconds, 1.0))
        if spent > seconds and (runs >= FEWEST_RUNS or spent / runs > seconds):
            break
    engine, reference = (median(each) * 1e3 for each in times)
    return Latency(
        engine_ms=engine,
        onnxruntime_ms=reference,
        runs=len(times[0]),
        threads=threads,
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )
