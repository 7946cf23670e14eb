"""A metric of a graph, beside that of the float32 graph on the same examples, both in ONNX Runtime as they are written."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import ConversionError, first_line
from enginesmith.converters.core.records import Accuracy
from enginesmith.converters.core.samples import Array, Feed
from enginesmith.converters.data.datasets import Examples
from enginesmith.converters.data.metrics import Metric
from enginesmith.converters.graphs import onnxruntime

IN_MEMORY = 1 << 26
"""Bytes of the float32 graph's outputs that are kept in memory; what exceeds it goes to disk."""

Progress = Callable[[str, float | None], None]


class Evaluator:
    """Runs the float32 graph once, and then as many others as are asked for.

    Without ONNX Runtime's optimizations: an optimized graph would not round where the graph at hand does.
    """

    def __init__(
        self,
        reference: Path,
        dataset: Examples,
        metric: Metric,
        progress: Progress = lambda text, fraction: None,
        threads: int | None = None,
    ) -> None:
        """`threads` bounds those of an operator; None takes one for each core.

        Raises ConversionError for a graph that can't be run, UserError where the metric can't be had on this data.
        """
        self.dataset = dataset
        self.metric = metric
        self.progress = progress
        self.threads = threads
        self.seconds_per_score = 0.0
        """How long the latest run over all examples took."""
        self._kept = Kept()
        found = metric.fresh()
        for outputs, target in self._run(reference, "the float32 graph"):
            self._kept.append(outputs)
            found.add(outputs, outputs, target)
        self.baseline = found.value()
        """The metric of the float32 graph."""
        self.warnings = [*dataset.warnings, *filter(None, [found.doubt()])]

    def score(self, graph: Path) -> float:
        """The metric of a graph with the same inputs and outputs. Raises ConversionError where it can't be run."""
        found = self.metric.fresh()
        for reference, (outputs, target) in zip(self._kept, self._run(graph, graph.name), strict=True):
            missing = [name for name in reference if name not in outputs]
            if missing:
                raise ConversionError(
                    f"the outputs {', '.join(missing)} are gone; {graph.name} has {', '.join(outputs)}"
                )
            found.add(outputs, reference, target)
        return found.value()

    def record(self, score: float, budget: float | None = None) -> Accuracy:
        """A score beside the float32 graph's, for the manifest."""
        return Accuracy(
            metric=self.metric.name,
            data=self.dataset.name,
            examples=self.dataset.rows,
            weak=not (self.dataset.labelled and self.metric.takes_targets),
            made_up=self.dataset.made_up,
            before=self.baseline,
            after=score,
            budget=budget,
        )

    def _run(self, graph: Path, label: str) -> Iterator[tuple[dict[str, Array], Any]]:
        """Outputs and target of each example."""
        begun = time.monotonic()
        session = _guarded(lambda: onnxruntime.session(graph, threads=self.threads, optimize=False), f"load {label}")
        names = [output.name for output in session.get_outputs()]
        total = len(self.dataset)
        for number, (feed, target) in enumerate(self.dataset):
            self.progress(f"{label}: example {number + 1} of {total}", number / total)
            yield dict(zip(names, _infer(session, feed, label), strict=True)), target
        self.seconds_per_score = time.monotonic() - begun


class Kept:
    """Outputs of runs in their order, on disk once they are large."""

    def __init__(self) -> None:
        self.file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - lives as long as this does
        self.names: list[str] = []
        self.count = 0

    def append(self, outputs: dict[str, Array]) -> None:
        import numpy as np

        self.names = list(outputs)
        for array in outputs.values():
            np.lib.format.write_array(self.file, np.asarray(array), allow_pickle=False)
        self.count += 1

    def __iter__(self) -> Iterator[dict[str, Array]]:
        import numpy as np

        self.file.seek(0)
        for _ in range(self.count):
            yield {name: np.lib.format.read_array(self.file, allow_pickle=False) for name in self.names}


def _infer(session: Any, feed: Feed, label: str) -> list[Array]:
    found: list[Array] = _guarded(lambda: session.run(None, feed), f"run {label}")
    return found


def _guarded(call: Callable[[], Any], doing: str) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises whatever it likes
        traceback.print_exc()
        raise ConversionError(f"ONNX Runtime can't {doing}: {first_line(error)}") from None
