"""What judges a mix: the user's metric on all examples, and on a few of them together with the outputs' error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.data.metrics.base import Metric, Outputs
from enginesmith.converters.precision.fidelity import outputs_error

if TYPE_CHECKING:
    from enginesmith.converters.data.datasets import Example, Examples
    from enginesmith.converters.data.evaluation import Evaluator

FEW = 16
"""Examples of a sensitivity run, where time allows."""
FEWEST = 4
SHARE = 0.35
"""Of a search's time that a sensitivity run may take."""


class Judge:
    """Scores graphs by an evaluator. `error` is that of the outputs of the graph scored last, 0 where nobody watches."""

    def __init__(self, evaluator: Evaluator, name: str = "all examples") -> None:
        self.name = name
        """What its scores are remembered by."""
        self.examples = len(evaluator.dataset)
        self.baseline = evaluator.baseline
        """The metric of the float32 graph."""
        self.error = 0.0
        self._evaluator = evaluator

    def score(self, graph: Path) -> float:
        """The metric; higher is better."""
        score = self._evaluator.score(graph)
        metric = self._evaluator.metric
        if isinstance(metric, Watched):
            self.error = sum(metric.errors) / len(metric.errors)
        return score


@dataclass
class Watched(Metric):
    """A metric that also notes the outputs' error of each example, of the latest run alone."""

    inner: Metric
    errors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.inner.name
        self.takes_targets = self.inner.takes_targets

    def fresh(self) -> Watched:
        self.errors.clear()
        return Watched(self.inner.fresh(), self.errors)

    def add(self, outputs: Outputs, reference: Outputs, target: Any) -> None:
        self.inner.add(outputs, reference, target)
        self.errors.append(outputs_error(reference, outputs))

    def value(self) -> float:
        return self.inner.value()

    def doubt(self) -> str:
        return self.inner.doubt()


class Few:
    """A dataset's examples at equal distances, held in memory: the first ones may all be of one class."""

    def __init__(self, dataset: Examples, count: int) -> None:
        total = len(dataset)
        wanted = {index * total // min(count, total) for index in range(min(count, total))}
        self.name = dataset.name
        self.weak = dataset.weak
        self.made_up = dataset.made_up
        self.labelled = dataset.labelled
        self.rows = dataset.rows * len(wanted) // total
        self.warnings: list[str] = []
        self._examples: Sequence[Example] = [example for index, example in enumerate(dataset) if index in wanted]

    def __len__(self) -> int:
        return len(self._examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self._examples)


def quick_judge(reference: Path, evaluator: Evaluator, runs: int, seconds: float | None) -> Judge:
    """A judge for `runs` graphs on FEW of an evaluator's examples; fewer where they would take more than their share of
    `seconds`."""
    share = None if seconds is None else SHARE * seconds
    return timely_judge(reference, evaluator.dataset, evaluator.metric, FEW, runs, share)


def timely_judge(
    reference: Path, dataset: Examples, metric: Metric, most: int, runs: int, seconds: float | None
) -> Judge:
    """A judge on at most `most` examples: on so many that `runs` graphs take `seconds`, and FEWEST at least.

    Halved until they fit: a second run, that is a little faster or slower, shall take as many and find its trials
    remembered.
    """
    from enginesmith.converters.data.evaluation import Evaluator

    count = min(most, len(dataset))
    while True:
        watching = Evaluator(reference, Few(dataset, count), Watched(metric.fresh()))
        if seconds is None or runs * watching.seconds_per_score <= seconds or count // 2 < FEWEST:
            return Judge(watching, f"{count} examples")
        count //= 2
