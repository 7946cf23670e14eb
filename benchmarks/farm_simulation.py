"""The farm's queue on paper: 1,000 models with 60 cells each on 200 nodes.

    python benchmarks/farm_simulation.py [--models 1000] [--nodes 200] [--cores 8] [--recorded STORE/timing/farm.json]

The seconds of stages are assumed, below, unless those that a farm has recorded are given: they are drawn from then. Models
are of sizes over two orders of magnitude.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from enginesmith.pipeline.farm.queue import Demand, Job, Node
from enginesmith.pipeline.farm.simulation import simulate

TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120", "x86-64-v3", "x86-64-v4", "aarch64", "x86-64-v4+vnni")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "auto", "int8-rest16")
ASSUMED = {"export": 40, "compare": 8, "simplify": 15, "calibrate": 30, "accuracy": 60, "compile": 90}
ASSUMED |= {"measure": 25, "precision": 12}
GB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--recorded", type=Path)
    given = parser.parse_args()
    seconds = {kind: [float(took)] for kind, took in ASSUMED.items()}
    for kind, took, _ in json.loads(given.recorded.read_bytes()).values() if given.recorded else ():
        seconds.setdefault(f"recorded {kind.partition(' ')[0]}", []).append(took)
    seconds = {kind: seconds.get(f"recorded {kind}", took) for kind, took in seconds.items()}
    started = time.perf_counter()
    jobs = list(make_jobs(given.models, seconds))
    nodes = [  # each with one target, of which all have as many nodes
        Node(f"n{n}", given.cores, 64 * GB, frozenset([TARGETS[n % len(TARGETS)]])) for n in range(given.nodes)
    ]
    found = simulate(jobs, nodes)
    took = time.perf_counter() - started
    print(
        f"{given.models} models, {len(TARGETS) * len(PRECISIONS)} cells each, {found.jobs} stages, {given.nodes} nodes of "
        f"{given.cores} cores: makespan {found.makespan / 3600:.2f} h, bound {found.bound / 3600:.2f} h, ratio "
        f"{found.ratio:.3f}; {took:.0f} s, {took / found.jobs * 1e6:.0f} µs a stage, "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB"
    )


def make_jobs(models: int, seconds: Mapping[str, Sequence[float]]) -> Iterator[Job]:
    draw = random.Random(0)
    for model in range(models):
        size = 10 ** draw.uniform(-1, 1)

        def job(id: str, kind: str, before: tuple[str, ...], demand: Demand, size: float = size) -> Job:
            return Job(id, before, demand, draw.choice(seconds[kind]) * size * draw.uniform(0.7, 1.4))

        cpu = Demand(1, 4 * GB)
        trunk = ""
        for kind in ("export", "compare", "simplify", "compare"):
            id = f"{model} {kind} {'again' if 'simplify' in trunk else ''}"
            yield job(id, kind, (trunk,) if trunk else (), cpu)
            trunk = id
        for precision in PRECISIONS:
            form = trunk
            for kind in () if precision == "fp32" else ("calibrate", "precision", "compare", "accuracy"):
                id = f"{model} {precision} {kind}"
                yield job(id, kind, (form,), cpu)
                form = id
            for target in TARGETS:
                name = f"{model} {precision} {target}"
                yield job(f"{name} compile", "compile", (form,), cpu)
                yield job(f"{name} compare", "compare", (f"{name} compile",), Demand(1, 2 * GB, target))
                yield job(f"{name} measure", "measure", (f"{name} compare",), Demand(1, 2 * GB, target, alone=True))


if __name__ == "__main__":
    main()
