"""ONNX Runtime's own profile: the time of every kernel, and which nodes of the given graph each of them computes."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import onnx
from numpy.typing import NDArray

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.graphs import onnxruntime

SUFFIX = "_kernel_time"


class KernelTimes:
    """A session that keeps a profile, and the graph that it has made of the given one."""

    def __init__(self, model: Path, threads: int, scratch: Path) -> None:
        """`scratch` takes the optimized graph, with its weights, and the profile.

        Raises ConversionError where that graph can't be written: a graph may run that has no form as a file.
        """
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        written = scratch / "optimized.onnx"
        try:
            self.session = onnxruntime.session(
                model,
                threads=threads,
                optimize=not onnxruntime.is_quantized(model),
                profile=scratch / "onnxruntime",
                written=written,
                shipped=True,
            )
        except (state.Fail, state.InvalidArgument, state.NotImplemented, state.RuntimeException) as error:
            raise ConversionError(f"ONNX Runtime can't write its own graph: {str(error).splitlines()[0]}") from error
        self.optimized = onnx.load(str(written), load_external_data=False).graph
        self.whole: list[float] = []
        """Seconds of each run that counts."""
        self.counted: list[bool] = []

    def run(self, feed: Mapping[str, NDArray[Any]], *, counted: bool = True) -> float:
        """One inference; returns its seconds."""
        start = time.perf_counter()
        self.session.run(None, dict(feed))
        seconds = time.perf_counter() - start
        self.counted.append(counted)
        if counted:
            self.whole.append(seconds)
        return seconds

    def milliseconds(self) -> dict[int, float]:
        """Median by the number of the node in the optimized graph. Ends the profile."""
        events = json.loads(Path(self.session.end_profiling()).read_bytes())
        times: dict[str, list[float]] = defaultdict(list)
        ops: dict[str, str] = {}
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith(SUFFIX):
                name = event["name"].removesuffix(SUFFIX)
                times[name].append(event["dur"] / 1e3)
                ops[name] = event["args"]["op_name"]
        numbers = {node.name: number for number, node in enumerate(self.optimized.node) if node.name}
        # A kernel without a name is called by its operator and a number that the written graph doesn't have.
        nameless = defaultdict(list)
        for number, node in enumerate(self.optimized.node):
            if not node.name:
                nameless[node.op_type].append(number)
        found: dict[int, float] = {}
        for name, seconds in times.items():
            place = numbers.get(name)
            if place is None and nameless[ops[name]]:
                place = nameless[ops[name]].pop(0)
            if place is not None:  # else it is a part of a Loop or an If, whose time has it already
                kept = [value for value, counted in zip(seconds, self.counted, strict=False) if counted]
                found[place] = median(kept)
        return found
