"""An engine held against itself: what it must answer alike whatever it computes. No reference is needed to see that it doesn't;
only where it doesn't, the graph itself is asked in ONNX Runtime whether it means that: it may draw numbers at random, or mix
the rows of a batch.

As metamorphic testing has it (Chen, Cheung, Yiu: Metamorphic testing, 1998): relations between the outputs of several calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from enginesmith.converters.core.comparisons import SelfCheck
from enginesmith.converters.core.errors import first_line
from enginesmith.converters.core.samples import Feed
from enginesmith.converters.graphs.answers import Clock, Infer, Pair, Subject, judged
from enginesmith.converters.graphs.batches import batch_of, picked, rows_of, smaller

MOST_REPEATS, LEAST_SECONDS = 400, 0.3
"""An engine that is done in no time is called again so often, or for so long: races come and go, on a busy machine most of
all, where threads run one after the other."""
MOST_OTHERS = 3
"""Other inputs that are run in between."""


def check(subject: Subject) -> list[SelfCheck]:
    """All checks that there is time for, each with its verdict."""
    clock = Clock(subject.seconds)
    first = subject.feeds[0]
    records = [
        judged(subject, "repeated", lambda infer, over: _repeated(infer, first, over), subject.exact, clock),
        _interleaved(subject, clock),
        *_rows(subject, clock),
        _batches(subject, clock),
    ]
    for name, build in subject.others.items():
        records.append(_other(subject, name, build, clock))
    return [record for record in records if record is not None]


def _repeated(infer: Infer, feed: Feed, over: Callable[[], bool]) -> Iterator[Pair]:
    before = infer(feed)
    start = time.monotonic()
    for number in range(MOST_REPEATS):
        if number and (over() or time.monotonic() - start > LEAST_SECONDS):
            return
        yield Pair(f"call {number + 2} with the same input", feed, before, infer(feed))


def _interleaved(subject: Subject, clock: Clock) -> SelfCheck | None:
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

    return judged(subject, name, pairs, subject.exact, clock)


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


def _rows(subject: Subject, clock: Clock) -> Iterator[SelfCheck]:
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
            yield judged(subject, name, pairs, subject.tolerance, clock)


def _largest(feeds: Sequence[Feed]) -> Feed:
    """The first one of the largest batch."""
    return max(feeds, key=lambda feed: batch.size if (batch := batch_of(feed)) is not None else 0)


def _batches(subject: Subject, clock: Clock) -> SelfCheck | None:
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

    return judged(subject, name, pairs, subject.tolerance, clock)


def _other(subject: Subject, name: str, build: Callable[[], Infer], clock: Clock) -> SelfCheck:
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

    record = judged(subject, name, pairs, subject.tolerance, clock, reference)
    record.seconds = round(record.seconds + built, 3)
    return record


def _no_time(subject: Subject, name: str, calls: int) -> SelfCheck:
    told = f"no time left for {calls} calls within {subject.seconds:.1f} s"
    return SelfCheck(check=name, of=subject.name, verdict="not run", reason=told)
