"""Which of the samples the model takes: the user's own have to be taken, one that was made up is dropped."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.samples import Array, Feed, Sample, SampleSet, telling
from enginesmith.converters.data.maker import Way

Run: TypeAlias = Callable[[Feed], dict[str, Array]]
"""The model itself. Raises whatever it likes for an input that it doesn't take."""
Make: TypeAlias = Callable[[Way], tuple[SampleSet, list[Feed]]]
LONGEST = 160
"""Characters of an error that are told."""
SHOWN = 4
"""Samples that are told of in a line."""
EXAMPLES = "give the SHAPE that it takes, or inputs: (module, inputs) from the factory, or --samples file.npz"


@dataclass
class Admitted:
    """`feeds` are those of the `samples`, probes too; `results` those of the ordinary ones, which come first."""

    samples: SampleSet
    feeds: list[Feed]
    results: list[dict[str, Array]]
    pace: float
    """Seconds of all cores that the fastest run took."""
    dropped: list[str]
    """The made-up samples that are none, each with the reason."""

    @property
    def notes(self) -> list[str]:
        """For the user: one line, or none."""
        if not self.dropped:
            return []
        shown = "; ".join(self.dropped[:SHOWN]) + ("; ..." if len(self.dropped) > SHOWN else "")
        return [f"left out of the samples, since they were made up and are no input of the model: {shown}"]


class _Taken(NamedTuple):
    sample: Sample
    feed: Feed
    outputs: dict[str, Array]


def admit(
    make: Make, ways: Sequence[Way], run: Run, begin: Callable[[list[Feed]], None] = lambda feeds: None
) -> Admitted:
    """The samples that `make` makes in the first of the `ways` whose first sample the model takes; of a further one that it refuses,
    what the other ways make of it. `begin` is called with the ordinary inputs before they are run, and may refuse them too.

    Raises UserError where the model refuses one of the user's own, or all that were made up at the optimum shape; and what `run`
    raises as one.
    """
    errors: list[UserError] = []
    for way in ways:
        samples, feeds = make(way)
        clock = _Clock(run)
        try:
            begin([feeds[index] for index in samples.ordinary()])
            outputs = clock.timed(feeds[0])
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
            traceback.print_exc()
            errors.append(_refusal(samples.samples[0], feeds[0], error))
            if samples.samples[0].own:
                break
            continue
        others = (make(other)[1] for other in ways if other != way)
        taken, dropped = _taken(samples, feeds, outputs, clock, _Rest(others))
        taken, meaningless = _meaningful(taken)
        first = taken[0]
        again = first.sample.model_copy(update={"name": f"{first.sample.name} again"})
        taken.append(_Taken(again, first.feed, clock.timed(first.feed)))
        probes = [index for index, sample in enumerate(samples.samples) if sample.probe]
        all_samples = [*(each.sample for each in taken), *(samples.samples[index] for index in probes)]
        return Admitted(
            samples.model_copy(update={"samples": all_samples}),
            [*(each.feed for each in taken), *(feeds[index] for index in probes)],
            [each.outputs for each in taken],
            min(clock.seconds),
            dropped + meaningless,
        )
    raise errors[0]


def _taken(
    samples: SampleSet, feeds: list[Feed], outputs: dict[str, Array], clock: _Clock, others: _Rest
) -> tuple[list[_Taken], list[str]]:
    """The ordinary ones but for the last, which is the first again; and why others are none of them."""
    taken, dropped = [_Taken(samples.samples[0], feeds[0], outputs)], []
    for index in samples.ordinary()[1:-1]:
        sample, reason = samples.samples[index], ""
        for feed in (feeds[index], *(() if sample.own else others.of(index))):
            try:
                made = clock.timed(feed)
            except UserError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                traceback.print_exc()
                if sample.own:
                    raise _refusal(sample, feed, error) from None
                reason = reason or f"{sample.name} (refused: {type(error).__name__}: {first_line(error)[:LONGEST]})"
                continue
            if not (reason and any(_same(feed, each.feed) for each in taken)):
                taken.append(_Taken(sample, feed, made))
                reason = ""
            break
        dropped += [reason] if reason else []
    return sorted(taken, key=lambda each: not each.sample.optimum), dropped


def _meaningful(taken: list[_Taken]) -> tuple[list[_Taken], list[str]]:
    """Without what was made up and is answered with NaN, where another one at the optimum isn't."""
    own = [each for each in taken if each.sample.own]
    whole = bool(own) and not any(_has_nan(each.outputs) for each in own)
    bad = [
        each
        for each in taken
        if not each.sample.own and (not telling(each.outputs) or (whole and _has_nan(each.outputs)))
    ]
    names = [each.sample.name for each in bad]
    kept = [each for each in taken if each.sample.name not in names]
    if not any(each.sample.optimum and telling(each.outputs) for each in kept):
        return taken, []
    return kept, [f"{name} (its results are NaN or infinite)" for name in names]


def _refusal(sample: Sample, feed: Feed, error: Exception) -> UserError:
    """What to tell of an input that must be taken and isn't."""
    shapes = " ".join(f"{name}:{'x'.join(map(str, array.shape))}" for name, array in feed.items())
    told = f"{type(error).__name__}: {first_line(error)}"
    if sample.own:
        return UserError(
            f"the model refuses the input {shapes} of yours ({sample.name}): {told}; call it so in Python first"
        )
    return UserError(f"the model refuses the input {shapes}: {told}; {EXAMPLES}")


def _same(one: Feed, other: Feed) -> bool:
    return all(
        array.shape == other[name].shape and array.tobytes() == other[name].tobytes() for name, array in one.items()
    )


def _has_nan(outputs: dict[str, Array]) -> bool:
    import numpy as np

    return any(array.dtype.kind == "f" and bool(np.isnan(array).any()) for array in outputs.values())


class _Clock:
    """Runs the model, and notes how long it takes: seconds of all cores."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seconds: list[float] = []

    def timed(self, feed: Feed) -> dict[str, Array]:
        started = time.process_time()
        made = self.run(feed)
        self.seconds.append(time.process_time() - started)
        return made


class _Rest:
    """The same samples made in other ways, as far as they are asked for."""

    def __init__(self, made: Iterator[list[Feed]]) -> None:
        self.made = made
        self.known: list[list[Feed]] = []

    def of(self, index: int) -> Iterator[Feed]:
        for feeds in self.known:
            yield feeds[index]
        for feeds in self.made:
            self.known.append(feeds)
            yield feeds[index]
