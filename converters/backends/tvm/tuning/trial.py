"""Builds kernels alone and times them in turn on random data; called by name in a process without torch."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enginesmith.converters.backends.tvm.kernels.layout import Blocked
from enginesmith.converters.backends.tvm.kernels.schedule import Schedule
from enginesmith.converters.backends.tvm.kernels.workload import Workload, load_schedule
from enginesmith.converters.backends.tvm.tuning.machine import SESSION, Machine, connect

ROUNDS = 7
"""The kernels are run in turn so many times: what disturbs one disturbs all."""
FEWEST, BEATEN = 2, 1.15
"""After so many rounds there are no more, if in each of them the last kernel took so much longer than the first."""
RUNS = 3
"""In a row; the fastest counts."""
L2, L3 = 4 << 20, 64 << 20
"""Bytes that push everything out of these caches. That is done before each run: in a network, too, the last kernel's data
is in the L2 cache and not this one's weights. Those of a `heavy` workload come from the main memory there: a schedule that
reads them twice looked 13 % faster alone, and made the network slower.
"""
TOLERANCE = 1e-4
"""Of a result against that of the default schedule, relative to the largest number."""
KEPT = 6
"""Kernels that are kept, to be timed again."""
NAME = "kernel"


@dataclass(frozen=True)
class Built:
    """A kernel on a machine. The last argument is its result."""

    module: Any
    arguments: tuple[Any, ...]
    heavy: bool


@dataclass
class Ground:
    """A machine, and the last kernels that were brought there, with their results."""

    asked: tuple[str, int, str]
    machine: Machine
    since: float = field(default_factory=time.monotonic)
    kernels: dict[tuple[Workload, Schedule | None], tuple[Built, NDArray[np.float32]]] = field(default_factory=dict)

    def kernel(self, workload: Workload, schedule: Schedule | None) -> tuple[Built, NDArray[np.float32]]:
        key = workload, schedule
        if key not in self.kernels:
            built = _build(workload, schedule, self.machine)
            self.kernels[key] = built, _result(workload, built)
        self.kernels[key] = self.kernels.pop(key)  # the last one is kept longest
        while len(self.kernels) > KEPT:
            self.kernels.pop(next(iter(self.kernels)))
        return self.kernels[key]


_grounds: list[Ground] = []
"""At most one: a machine serves one session at a time."""


def _ground(*asked: Any) -> Ground:
    """Where this process measures. A session on another machine is renewed before that machine ends it."""
    old = _grounds.pop() if _grounds else None
    if old is None or old.asked != asked or (asked[2] and time.monotonic() - old.since > SESSION / 2):
        del old  # with it goes the session: only then is the machine free
        _grounds.append(Ground(asked, connect(*asked)))
    else:
        _grounds.append(old)
    return _grounds[0]


def race(
    entrants: Sequence[Mapping[str, Any]], target: str, threads: int, tracker: str = "", more: int = 1
) -> list[float]:
    """Milliseconds of each entrant: a `workload` as it dumps, with its `schedule`, None for the default. All schedules of a
    workload must give the result of its default. `more` rounds give a surer answer.

    Raises ValueError for a schedule whose result is wrong.
    """
    os.environ["TVM_NUM_THREADS"] = str(threads)
    try:
        return _times(entrants, _ground(target, threads, tracker), more)
    except ValueError:
        raise
    except Exception:
        _grounds.clear()  # the session may be broken: the next race begins a new one
        raise


def _times(entrants: Sequence[Mapping[str, Any]], ground: Ground, more: int) -> list[float]:
    built = []
    for entrant in entrants:
        workload = Workload.load(entrant["workload"])
        schedule = entrant["schedule"] and load_schedule(workload.kind, entrant["schedule"])
        _, expected = ground.kernel(workload, None)
        candidate, found = ground.kernel(workload, schedule)
        error = float(np.abs(found - expected).max()) / (float(np.abs(expected).max()) + 1e-6)
        if not error <= TOLERANCE:
            raise ValueError(f"a wrong result: it differs by {error:.1e} of the largest number")
        built.append(candidate)
    timers = [_timer(kernel, ground.machine) for kernel in built]
    rounds: list[list[float]] = []
    while len(rounds) < ROUNDS * more:
        rounds.append([timer() for timer in timers])
        if len(rounds) == FEWEST and min(round[-1] / round[0] for round in rounds) > BEATEN:
            break
    return paired(rounds)


def paired(rounds: Sequence[Sequence[float]]) -> list[float]:
    """A time for each column, the first one's median times the median ratio to it within a round: whatever slows a whole
    round down has no part in the ratio."""
    first = median(times[0] for times in rounds)
    columns = zip(*rounds, strict=True)
    return [first * median(time / times[0] for time, times in zip(column, rounds, strict=True)) for column in columns]


def ready(target: str, threads: int, tracker: str = "") -> None:
    """Connect, so that the first measurement takes no longer than the others."""
    os.environ["TVM_NUM_THREADS"] = str(threads)
    _ground(target, threads, tracker)


def _timer(kernel: Built, machine: Machine) -> Callable[[], float]:
    runs, flushed = (1, L3) if kernel.heavy else (RUNS, L2)
    evaluate = kernel.module.time_evaluator(NAME, machine.device, number=1, repeat=runs, cache_flush_bytes=flushed)
    return lambda: 1e3 * min(evaluate(*kernel.arguments).results)


def _build(workload: Workload, schedule: Any, machine: Machine) -> Built:
    import tvm

    from enginesmith.converters.backends.tvm.frontend.codegen import compile_module

    kernel = workload.kernel(schedule)
    function = kernel.kernel(NAME)
    executable = compile_module(tvm.IRModule({NAME: function}), machine.target)
    with tempfile.TemporaryDirectory() as folder:
        module = machine.load(executable, Path(folder, f"{NAME}.so"))
    arrays = _arrays(workload, kernel, function)
    return Built(module, tuple(tvm.runtime.tensor(array, machine.device) for array in arrays), workload.heavy)


def _result(workload: Workload, built: Built) -> NDArray[np.float32]:
    """Run once. Channels that only fill up the last block hold anything: they are left out."""
    built.module[NAME](*built.arguments)
    result = built.arguments[-1].numpy()
    target = getattr(workload.kernel(), "target", None)
    if target is None:
        return result  # type: ignore[no-any-return]
    planes = result.transpose(0, 1, 4, 2, 3).reshape(target.batch, -1, *result.shape[2:4])
    return planes[:, : target.channels]  # type: ignore[no-any-return]


def _arrays(workload: Workload, kernel: Any, function: Any) -> list[NDArray[np.float32]]:
    """Arguments of a kernel, the same for all its schedules. What it must write holds something else before."""
    rng = np.random.default_rng(0)
    arrays = []
    layouts = {"source": getattr(kernel, "source", None)}
    layouts |= {f"operand{index}": operand.layout for index, operand in enumerate(kernel.expression.operands)}
    for parameter in function.params:
        shape = tuple(int(size) for size in parameter.shape)
        weights = parameter.name == "weights" or (parameter.name == "right" and kernel.packed)
        if weights:
            packed = kernel.pack(_weights(workload.kind, kernel, rng))
            assert packed.shape == shape
            arrays.append(packed)
        elif parameter.name == "result":
            arrays.append(np.full(shape, 9e9, np.float32))
        else:
            array = rng.standard_normal(shape, np.float32)
            layout = layouts.get(parameter.name)
            arrays.append(array if layout is None else _within(array, layout))
    return arrays


def _weights(kind: str, kernel: Any, rng: np.random.Generator) -> NDArray[np.float32]:
    """In ONNX's order, small enough for sums of the order of one."""
    if kind == "product":
        shape: tuple[int, ...] = (kernel.left[-1], kernel.columns)
        return rng.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5)
    inputs = {"depthwise": 1, "convolution": getattr(kernel, "inputs", 0)}.get(kind, kernel.source.channels)
    shape = (kernel.target.channels, inputs, *kernel.window.kernel)
    return rng.standard_normal(shape, np.float32) / np.float32((inputs * kernel.window.taps) ** 0.5)


def _within(array: NDArray[np.float32], layout: Blocked) -> NDArray[np.float32]:
    """With zeros around the planes."""
    top, left, _, _ = layout.halo
    inside = np.zeros_like(array)
    rows, columns = slice(top, top + layout.height), slice(left, left + layout.width)
    inside[:, :, rows, columns] = array[:, :, rows, columns]
    return inside
