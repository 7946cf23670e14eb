"""Times of a TVM module's calls, one by one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from numpy.typing import NDArray

from enginesmith.converters.core.engine_layers import Layer


class CallTimes:
    """Watches a module that a `TvmRunner` has loaded. Each run costs a few microseconds more for each call."""

    def __init__(self, runner: Any, layers: Sequence[Layer]) -> None:
        self.runner = runner
        self.layers = layers
        self.runs: list[list[float]] = []
        """Seconds of each layer, by run."""
        self.whole: list[float] = []
        """Seconds of each run."""

    def run(self, feed: Mapping[str, NDArray[Any]], *, counted: bool = True) -> float:
        """One inference; returns its seconds."""
        found: list[tuple[str, float]] = []
        clock = time.perf_counter
        started = 0.0

        def watch(function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> int:
            nonlocal started
            if before:
                started = clock()
            else:
                found.append((symbol, clock() - started))
            return 0  # go on

        self.runner.machine.set_instrument(watch)
        self.runner.infer(feed)
        seconds = float(self.runner.last_inference_time())
        if counted:
            self.runs.append(self._by_layer(found))
            self.whole.append(seconds)
        return seconds

    def _by_layer(self, found: Sequence[tuple[str, float]]) -> list[float]:
        """Calls of one function come in the order of its layers. What is not called moves no data, or is another branch."""
        times = [0.0] * len(self.layers)
        places = defaultdict(list)
        for number, layer in reversed(list(enumerate(self.layers))):
            places[layer.function].append(number)
        for symbol, seconds in found:
            # operators that TVM lowers last get a number after their name
            place = next((name for name in (symbol, symbol.rstrip("0123456789_")) if places[name]), None)
            if place is not None:
                times[places[place].pop()] = seconds
        return times

    @property
    def milliseconds(self) -> list[float]:
        """Medians, by layer."""
        return [1e3 * median(times) for times in zip(*self.runs, strict=True)]
