"""Answers of an engine that must be one, and aren't: unless the graph itself means it, or rounding decides it, that is an alarm.

The graph is asked in ONNX Runtime, as it is written, and only where answers differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from enginesmith.converters.core.comparisons import SelfCheck
from enginesmith.converters.core.errors import ConversionError, first_line
from enginesmith.converters.core.samples import Array, Feed, Sample
from enginesmith.converters.graphs.batches import Outputs
from enginesmith.converters.graphs.comparison import describe_output, detail
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.rounding import Alone, moved
from enginesmith.converters.graphs.tolerances import STEPS, Tolerance

Infer = Callable[[Feed], dict[str, Array]]
"""Outputs of one call, in memory of their own."""


class Pair(NamedTuple):
    """Two answers that must be one. `feed` is the input of the one that is expected."""

    what: str
    feed: Feed
    expected: Outputs
    found: Outputs


Pairs = Callable[[Infer, Callable[[], bool]], Iterator[Pair]]
"""Calls an engine, and tells what must agree; ends early when there is no time left (the second argument says so)."""


@dataclass
class Subject:
    """An engine under test.

    `feeds` are inputs that it takes, the ordinary ones first; `tolerance` is that of its precision, `exact` of one call
    that is made again. `reference` is ONNX Runtime on the graph, opened when it is asked for the first time. `unjudged`
    says why values that only rounding need keep apart prove nothing; empty where they do.
    """

    name: str
    infer: Infer
    feeds: Sequence[Feed]
    task: str
    tolerance: Tolerance
    exact: Tolerance
    reference: Callable[[], Infer]
    unjudged: str = ""
    seconds: float = float("inf")
    """What all checks may take, by the clock."""
    others: Mapping[str, Callable[[], Infer]] = field(default_factory=dict)
    """The same graph otherwise built, by the name of the check."""


def again(tolerance: Tolerance) -> Tolerance:
    """Of the same call made twice: a few rounding steps, which sums in the order of the threads' arrival differ by."""
    return replace(tolerance, scale=STEPS * tolerance.step, relative=STEPS * tolerance.step, floor=None)


@dataclass
class Clock:
    """How much of the time is left, and how long one call takes."""

    seconds: float
    start: float = field(default_factory=time.monotonic)
    calls: int = 0
    spent: float = 0.0

    @property
    def over(self) -> bool:
        return time.monotonic() - self.start > self.seconds

    def fits(self, calls: int) -> bool:
        """Whether so many more calls are done in time."""
        pace = self.spent / self.calls if self.calls else 0.0
        return time.monotonic() - self.start + calls * pace <= self.seconds

    def timed(self, infer: Infer) -> Infer:
        def call(feed: Feed) -> dict[str, Array]:
            began = time.monotonic()
            try:
                return infer(feed)
            finally:
                self.calls += 1
                self.spent += time.monotonic() - began

        return call


def judged(
    subject: Subject,
    name: str,
    pairs: Pairs,
    tolerance: Tolerance,
    clock: Clock,
    graph: Pairs | None = None,
) -> SelfCheck:
    """The verdict of one check. `graph` takes the place of `pairs` where the graph is asked whether it means a difference."""
    before, began = clock.calls, time.process_time()
    record = SelfCheck(check=name, of=subject.name, verdict="pass")
    meant: set[str] = set()
    try:
        for number, pair in enumerate(pairs(clock.timed(subject.infer), lambda: clock.over)):
            failing = _failing(subject, pair, tolerance)
            if failing.keys() <= meant:
                continue
            alarms = _alarms(subject, graph or pairs, number, pair, tolerance, failing)
            meant |= failing.keys() - alarms.keys()
            if alarms:
                record.verdict = "fail"
                record.reason = f"{pair.what}: {next(iter(alarms.values()))}"
                break
            record.verdict = "by design"
            record.reason = f"{pair.what}: the graph itself answers otherwise in ONNX Runtime, or rounding decides it"
    except Exception as error:  # noqa: BLE001 - a runtime raises whatever it likes; that it can't run is told elsewhere
        record.verdict, record.reason = "not run", first_line(error)
    record.calls, record.seconds = clock.calls - before, round(time.process_time() - began, 3)
    return record


def _alarms(
    subject: Subject, graph: Pairs, number: int, pair: Pair, tolerance: Tolerance, failing: Mapping[str, str]
) -> dict[str, str]:
    """Of the outputs that fail, those which neither the graph's own meaning nor rounding explains."""
    reference = subject.reference()
    own = list(graph(reference, lambda: False))
    meant = {name for each in own for name in _failing(subject, each, tolerance)}
    left = {name: told for name, told in failing.items() if name not in meant}
    if not left or tolerance is subject.exact:
        return left
    near = list(graph(lambda feed: reference(moved(feed)), lambda: False))
    alone = Alone(_result(own[number].expected), _result(near[number].expected), whole=False)
    still = _failing(subject, pair, tolerance, alone)
    return {name: told for name, told in left.items() if name in still}


def _failing(subject: Subject, pair: Pair, tolerance: Tolerance, alone: Alone | None = None) -> dict[str, str]:
    """The outputs in which two answers differ by more than what is allowed, each in words. Detections as a whole have one
    name: their order is free where rounding decides on it, but not in the same call made again.
    """
    if _same(pair.expected, pair.found):
        return {}
    whole = subject.task == "detection" and tolerance is not subject.exact
    try:
        compared = compare_outputs(
            "detection" if whole else "tensor",
            Sample(name=pair.what),
            pair.feed,
            _result(pair.expected),
            _result(pair.found),
            tolerance,
            alone,
        )
    except ConversionError as error:
        return {"shapes": str(error)}
    if whole:
        return {} if compared.passed else {"detections": detail(compared)}
    return {each.name: describe_output(each) for each in compared.outputs if not each.passed}


def _same(expected: Outputs, found: Outputs) -> bool:
    """Bit by bit, which most answers are."""
    return expected.keys() == found.keys() and all(
        array.dtype == found[name].dtype
        and array.shape == found[name].shape
        and array.tobytes() == found[name].tobytes()
        for name, array in expected.items()
    )


def _result(outputs: Outputs):  # type: ignore[no-untyped-def]
    from polygraphy.comparator import IterationResult

    return IterationResult(outputs=dict(outputs), runtime=0.0, runner_name="")
