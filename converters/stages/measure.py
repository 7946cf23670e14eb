"""Time an engine against ONNX Runtime on the same graph: in turn, in one process, on the same threads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import Field

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.engine_layers import Profile
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.inputs import written
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.records import Latency
from enginesmith.converters.core.samples import Array, SampleSet
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.core.timing import in_turn
from enginesmith.converters.graphs import interface, onnxruntime

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

PROFILE_SECONDS = 2.0
"""For the times of layers, at most."""


class MeasureOptions(Options):
    """`seconds` to spend, about, on all shapes; `threads` 0 for one per core. `machine` only makes the machine part of the key."""

    backend: str
    target: str
    seconds: float = Field(gt=0)
    threads: int
    machine: str


class MeasureFacts(Facts):
    latency: Latency
    profile: Profile | None = None


class Measure(Stage[MeasureOptions]):
    """Medians of runs that alternate, so that both meet the same load; for each of the shapes that were listed."""

    name = "measure"
    options = MeasureOptions
    facts = MeasureFacts
    alone = True
    without_torch = True

    def packages_of(self, options: MeasureOptions) -> tuple[str, ...]:
        return ("polygraphy", "onnxruntime", "onnxruntime-gpu", *get_backend(options.backend).packages)

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        """Beside ONNX Runtime on the graph in float32: on a CPU it computes in float32 anyway, and a graph of 16 bits is
        slower there.
        """
        if recipe.measure <= 0:
            return
        backend, target = so_far.branch.backend, so_far.branch.target
        options = MeasureOptions(
            backend=backend, target=target, seconds=recipe.measure, threads=recipe.threads, machine=so_far.machine
        )
        wide = so_far.roles.get("wide", so_far.roles["model"])
        needs = {**so_far.needs("engine"), "model": wide, **so_far.needs("samples")}
        blocked = get_backend(backend).runnable(target) or ""
        id = f"{self.name} {so_far.branch.name}"
        yield PlannedStage(id, self.name, options, needs, so_far.after, backend, target, blocked)

    def run(self, inputs: Mapping[str, Path], options: MeasureOptions, context: Context) -> MeasureFacts:
        backend = get_backend(options.backend)
        samples, feeds = SampleSet.load(inputs["samples"])
        threads = options.threads or len(os.sched_getaffinity(0))
        changed = interface.load(inputs["engine"])
        chosen = [0, *(i for i, sample in enumerate(samples.samples) if sample.listed)]
        timed = []
        with (
            backend.runner(inputs["engine"] / backend.engine_file, threads=threads) as engine,
            onnxruntime.runner(inputs["model"] / MODEL, threads=threads, shipped=True) as reference,
        ):
            for feed in (feeds[index] for index in chosen):
                sides = ((engine, interface.fed(changed, feed)), (reference, feed))
                latency = _time(sides, options.seconds / len(chosen), threads, context)
                shapes = written({name: array.shape for name, array in feed.items()}) if len(chosen) > 1 else ""
                timed.append(latency.model_copy(update={"shapes": shapes}))
        first, *others = timed
        profile, warnings = self._profile(inputs, options, threads, feeds[0], context)
        return MeasureFacts(
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
        """Layer by layer, for a backend that shows its layers; and why not, where that can't be had."""
        backend = get_backend(options.backend)
        engine, model = inputs["engine"] / backend.engine_file, inputs["model"] / MODEL
        context.progress("layer by layer")
        feeds = (interface.fed(interface.load(inputs["engine"]), feed), feed)
        seconds = min(options.seconds, PROFILE_SECONDS)
        try:
            return backend.layer_times(engine, options.target, model, feeds, threads, seconds, context.scratch), []
        except ConversionError as error:
            return None, [f"layers were not timed: {error}"]


def _time(
    sides: Sequence[tuple[BaseRunner, Mapping[str, Array]]], seconds: float, threads: int, context: Context
) -> Latency:
    """Medians of an engine and ONNX Runtime, each with its feed, in turn for about so many seconds."""
    load_before = os.getloadavg()[0]

    def call(runner: BaseRunner, given: Mapping[str, Array]) -> float:
        runner.infer(given)
        return float(runner.last_inference_time())

    times = in_turn(
        [partial(call, *side) for side in sides],
        seconds,
        lambda runs, share: context.progress(f"run {runs}", share),
    )
    engine, reference = (median(each) * 1e3 for each in times)
    return Latency(
        engine_ms=engine,
        onnxruntime_ms=reference,
        runs=len(times[0]),
        threads=threads,
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )
