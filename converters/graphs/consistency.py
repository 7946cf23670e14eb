"""An engine held against itself: what it must answer alike whatever it computes. No reference is needed to see that it doesn't;
only where it doesn't, the graph itself is asked in ONNX Runtime whether it means that: it may draw numbers at random, or mix
the rows of a batch.

As metamorphic testing has it (Chen, Cheung, Yiu: Metamorphic testing, 1998): relations between the outputs of several calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from enginesmith.converters.core.errors import ConversionError, first_line
from enginesmith.converters.core.records import SelfCheck
from enginesmith.converters.core.samples import Array, Feed, Sample
from enginesmith.converters.graphs.batches import Outputs, batch_of, picked, rows_of, smaller
from enginesmith.converters.graphs.comparison import describe_output, detail
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.rounding import Alone, moved
from enginesmith.converters.graphs.tolerances import STEPS, Tolerance

Infer = Callable[[Feed], dict[str, Array]]
"""Outputs of one call, in memory of their own."""

MOST_REPEATS, LEAST_SECONDS = 16, 0.3
"""An engine that is done in no time is called again so often, or for so long: some faults come and go."""
MOST_OTHERS = 3
"""Other inputs that are run in between."""


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


def check(subject: Subject) -> list[SelfCheck]:
    """All checks that there is time for, each with its verdict."""
    clock = _Clock(subject.seconds)
    first = subject.feeds[0]
    records = [
        _run(subject, "repeated", lambda infer, over: _repeated(infer, first, over), subject.exact, clock),
        _interleaved(subject, clock),
        *_rows(subject, clock),
        _batches(subject, clock),
    ]
    for name, build in subject.others.items():
        records.append(_other(subject, name, build, clock))
    return [record for record in records if record is not None]


@dataclass
class _Clock:
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


def _repeated(infer: Infer, feed: Feed, over: Callable[[], bool]) -> Iterator[Pair]:
    before = infer(feed)
    start = time.monotonic()
    for number in range(MOST_REPEATS):
        if number and (over() or time.monotonic() - start > LEAST_SECONDS):
            return
        yield Pair(f"call {number + 2} with the same input", feed, before, infer(feed))


def _interleaved(subject: Subject, clock: _Clock) -> SelfCheck | None:
    first = subject.feeds[0]
    others = _unlike(first, subject.feeds[1:])
    name = "interleaved"
    if not others:
        return SelfCheck(check=name, of=subject.name, verdict="not run", reason="there is one input alone")
    if not clock.fits(4):
        return _no_time(subject, name, 4)

    def pairs(infer: Infer, over: Callable[[], bool]) -> Iterator[Pair]:
        before = infer(first)
        for number, other in enumerate(others):
            if number and over():
                return
            between = infer(other)
            yield Pair("the first input again, after another one", first, before, infer(first))
            yield Pair("another input again, after the first one", other, between, infer(other))

    return _run(subject, name, pairs, subject.exact, clock)


def _unlike(first: Feed, rest: Sequence[Feed]) -> list[Feed]:
    """Inputs that differ from the first: one of its shapes, one of every other shape, and the last of all, which is the
    furthest from ordinary."""
    known = {_shapes(first)}
    same = [feed for feed in rest if _shapes(feed) in known and _content(feed) != _content(first)]
    chosen = [*same[:1], *([same[-1]] if len(same) > 1 else [])]
    for feed in rest:
        if _shapes(feed) not in known:
            known.add(_shapes(feed))
            chosen.append(feed)
    return chosen[:MOST_OTHERS]


def _shapes(feed: Feed) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in feed.values())


def _content(feed: Feed) -> list[bytes]:
    return [array.tobytes() for array in feed.values()]


def _rows(subject: Subject, clock: _Clock) -> Iterator[SelfCheck]:
    """Of a batch: rows in another order, equal rows, a row among others."""
    feed = _largest(subject.feeds)
    batch = batch_of(feed)
    if batch is None:
        return
    size = batch.size
    turned = [(row + 1) % size for row in range(size)]

    def permuted(infer: Infer, over: Callable[[], bool]) -> Iterator[Pair]:
        before, after = infer(feed), infer(picked(feed, batch, turned))
        expected = rows_of(before, size, turned)
        yield Pair("the rows of the batch in another order", feed, expected, rows_of(after, size, range(size)))

    def equal(infer: Infer, over: Callable[[], bool]) -> Iterator[Pair]:
        mixed = infer(feed)
        for row in dict.fromkeys((0, size - 1)):
            alone = infer(picked(feed, batch, [row] * size))
            expected = rows_of(alone, size, [row] * size)
            yield Pair("a batch of equal rows", feed, expected, rows_of(alone, size, range(size)))
            yield Pair(f"row {row} among others", feed, rows_of(alone, size, [row]), rows_of(mixed, size, [row]))

    for name, pairs, calls in (("permuted rows", permuted, 2), ("equal rows", equal, 3)):
        if subject.unjudged:
            yield SelfCheck(check=name, of=subject.name, verdict="not run", reason=subject.unjudged)
        elif not clock.fits(calls):
            yield _no_time(subject, name, calls)
        else:
            yield _run(subject, name, pairs, subject.tolerance, clock)


def _largest(feeds: Sequence[Feed]) -> Feed:
    """The first one of the largest batch."""
    return max(feeds, key=lambda feed: batch.size if (batch := batch_of(feed)) is not None else 0)


def _batches(subject: Subject, clock: _Clock) -> SelfCheck | None:
    """A batch against the smallest one that the engine takes; None where it takes one size alone."""
    name = "batch sizes"
    feed = _largest(subject.feeds)
    found = smaller(feed, subject.feeds)
    if found is None:
        return None
    batch, size = found
    if subject.unjudged:
        return SelfCheck(check=name, of=subject.name, verdict="not run", reason=subject.unjudged)
    parts = [list(range(start, start + size)) for start in dict.fromkeys((0, batch.size - size))]
    if not clock.fits(1 + len(parts)):
        return _no_time(subject, name, 1 + len(parts))

    def pairs(infer: Infer, over: Callable[[], bool]) -> Iterator[Pair]:
        whole = infer(feed)
        for rows in parts:
            part = infer(picked(feed, batch, rows))
            what = f"row {rows[0]} in a batch of {batch.size} and of {size}"
            yield Pair(what, feed, rows_of(part, size, range(size)), rows_of(whole, batch.size, rows))

    return _run(subject, name, pairs, subject.tolerance, clock)


def _other(subject: Subject, name: str, build: Callable[[], Infer], clock: _Clock) -> SelfCheck:
    """The same graph built otherwise, on the first inputs."""
    if subject.unjudged:
        return SelfCheck(check=name, of=subject.name, verdict="not run", reason=subject.unjudged)
    began = time.process_time()
    try:
        other = build()
    except Exception as error:  # noqa: BLE001 - a builder raises whatever it likes, and an alarm it is not
        return SelfCheck(check=name, of=subject.name, verdict="not run", reason=first_line(error))
    built = time.process_time() - began
    chosen = subject.feeds[: 1 + MOST_OTHERS]

    def pairs(infer: Infer, over: Callable[[], bool]) -> Iterator[Pair]:
        for feed in chosen:
            yield Pair(f"the engine and the one of {name}", feed, other(feed), infer(feed))

    def reference(infer: Infer, over: Callable[[], bool]) -> Iterator[Pair]:
        for feed in chosen:
            yield Pair("", feed, infer(feed), infer(feed))

    record = _run(subject, name, pairs, subject.tolerance, clock, reference)
    record.seconds = round(record.seconds + built, 3)
    return record


def _no_time(subject: Subject, name: str, calls: int) -> SelfCheck:
    told = f"no time left for {calls} calls within {subject.seconds:.1f} s"
    return SelfCheck(check=name, of=subject.name, verdict="not run", reason=told)


def _run(
    subject: Subject,
    name: str,
    pairs: Pairs,
    tolerance: Tolerance,
    clock: _Clock,
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


def _result(outputs: Outputs):  # type: ignore[no-untyped-def]
    from polygraphy.comparator import IterationResult

    return IterationResult(outputs=dict(outputs), runtime=0.0, runner_name="")
