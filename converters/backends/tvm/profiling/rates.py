"""What this machine reaches at best, measured with kernels that do nothing else."""

from __future__ import annotations

import time
from typing import Any

from enginesmith.converters.core.engine_layers import Rates

STEPS = 20_000
"""Of each chain of additions: some 100 us, far longer than it takes to wake a thread."""
NUMBERS = 2**23
"""In each of three arrays: 96 MiB together, more than a processor's caches hold."""
RUNS = 7


class Meter:
    """Two kernels for a target, compiled once. In a process with TVM and without torch."""

    def __init__(self, target: str, threads: int) -> None:
        """`target` is the canonical name of one that runs here; `threads` what TVM's pool has."""
        import numpy as np
        import tvm

        from enginesmith.converters.backends.tvm.kernels.apply import simd_for
        from enginesmith.converters.backends.tvm.target import parse

        cpu = parse(target)
        self.simd, self.threads = simd_for(cpu.arch, cpu.mcpu), threads
        self.chains = self.simd.registers * 3 // 4
        """More than the 8 to 10 additions that a core has under way, and registers to spare for both factors."""
        kernels = {}
        for tasks in {1, threads}:
            kernels[f"multiply_{tasks}"] = self._multiply(f"multiply_{tasks}", tasks)
            kernels[f"move_{tasks}"] = self._move(f"move_{tasks}", tasks)
        self.built = tvm.compile(tvm.IRModule(kernels), target=tvm.target.Target(cpu.config()))
        self.factors = tvm.runtime.tensor(np.full(2 * self.simd.lanes, 0.5, np.float32))
        self.sums = tvm.runtime.tensor(np.zeros(threads * self.simd.lanes, np.float32))
        self.arrays = [tvm.runtime.tensor(np.zeros(NUMBERS, np.float32)) for _ in range(3)]

    def read(self) -> Rates:
        """The best of several runs: some 0.2 s."""
        flops = 2.0 * STEPS * self.chains * self.simd.lanes
        rates = []
        for tasks in (self.threads, 1):
            rates.append(tasks * flops / self._best(self.built[f"multiply_{tasks}"], self.factors, self.sums) / 1e9)
            rates.append(3 * 4.0 * NUMBERS / self._best(self.built[f"move_{tasks}"], *self.arrays) / 1e9)
        return Rates(gflops=rates[0], gbytes=rates[1], gflops_one=rates[2], gbytes_one=rates[3])

    def _best(self, function: Any, *arguments: Any) -> float:
        """Seconds of the fastest run."""
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            function(*arguments)
            times.append(time.perf_counter() - start)
        return min(times)

    def _multiply(self, name: str, tasks: int) -> Any:
        """Chains of fused multiplications and additions that stay in registers."""
        from tvm.tirx.script.builder import ir as T

        from enginesmith.converters.backends.tvm.kernels.emit import argument, function

        simd, chains = self.simd, self.chains

        def body() -> None:
            factors = argument("factors", (2 * simd.lanes,))
            result = argument("result", (self.threads * simd.lanes,))
            with T.parallel(tasks) if tasks > 1 else T.serial(tasks) as task:
                sums = simd.zeros(chains)
                left, right = (T.Bind(simd.load(factors, place)) for place in (0, simd.lanes))
                with T.serial(STEPS):
                    for chain in range(chains):
                        at = chain * simd.lanes
                        simd.store(sums, simd.fma(simd.load(sums, at), left, right), at)
                simd.store(result, simd.total(sums, 0, 1, chains), task * simd.lanes)

        return function(name, body)

    def _move(self, name: str, tasks: int) -> Any:
        """Two arrays read, a third one written."""
        from tvm.tirx.script.builder import ir as T

        from enginesmith.converters.backends.tvm.kernels.emit import argument, function

        simd, part = self.simd, NUMBERS // tasks // self.simd.lanes * self.simd.lanes

        def body() -> None:
            left, right = argument("left", (NUMBERS,)), argument("right", (NUMBERS,))
            result = argument("result", (NUMBERS,))
            with (
                T.parallel(tasks) if tasks > 1 else T.serial(tasks) as task,
                T.serial(part // simd.lanes) as step,
            ):
                at = task * part + step * simd.lanes
                simd.store(result, simd.load(left, at) + simd.load(right, at), at)

        return function(name, body)
