"""Time an engine against ONNX Runtime on the same graph: in turn, in one process, on the same threads."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from pydantic import Field

from enginesmith.converters import interface
from enginesmith.converters.backends import get_backend, onnxruntime
from enginesmith.converters.records import Latency
from enginesmith.converters.samples import SampleSet
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage

MOST_RUNS = 200
FEWEST_RUNS = 3
"""Of each, unless a single pair takes longer than the whole time given: then one."""


class MeasureOptions(Options):
    """`seconds` to spend, about; `threads` 0 for one per core. `machine` only makes the machine part of the key."""

    backend: str
    target: str
    seconds: float = Field(gt=0)
    threads: int
    machine: str


class Measure(Stage[MeasureOptions]):
    """Medians of runs that alternate, so that both meet the same load."""

    name = "measure"
    options = MeasureOptions
    without_torch = True

    def packages_of(self, options: MeasureOptions) -> tuple[str, ...]:
        return ("polygraphy", "onnxruntime", "onnxruntime-gpu", *get_backend(options.backend).packages)

    def run(self, inputs: Mapping[str, Path], options: MeasureOptions, context: Context) -> Facts:
        backend = get_backend(options.backend)
        _, feeds = SampleSet.load(inputs["samples"])
        threads = options.threads or len(os.sched_getaffinity(0))
        load_before = os.getloadavg()[0]
        engine_times: list[float] = []
        reference_times: list[float] = []
        with (
            backend.runner(inputs["engine"] / backend.engine_file, threads=threads) as engine,
            onnxruntime.runner(inputs["model"] / MODEL, threads=threads) as reference,
        ):
            feed = interface.fed(interface.load(inputs["engine"]), feeds[0])
            sides = [(engine, feed, engine_times), (reference, feeds[0], reference_times)]
            for runner, given, _ in sides:  # warm up: pages, thread pools, lazy initialisation
                runner.infer(given)
            started = time.monotonic()
            while len(engine_times) < MOST_RUNS:
                for runner, given, times in sides:
                    runner.infer(given)
                    times.append(runner.last_inference_time())
                sides.reverse()  # neither always runs in the other's wake
                spent = time.monotonic() - started
                context.progress(f"run {len(engine_times)}", min(spent / options.seconds, 1.0))
                if spent > options.seconds and (
                    len(engine_times) >= FEWEST_RUNS or spent / len(engine_times) > options.seconds
                ):
                    break
        latency = Latency(
            engine_ms=median(engine_times) * 1e3,
            onnxruntime_ms=median(reference_times) * 1e3,
            runs=len(engine_times),
            threads=threads,
            load_before=load_before,
            load_after=os.getloadavg()[0],
        )
        return Facts(latency=latency, note=latency.verdict)
