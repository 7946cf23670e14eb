"""Samples that show what a graph's operators do: probes that the model takes, and others that are searched for."""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from enginesmith.compat.walk import ordered
from enginesmith.converters.core.bounded import TooLong, bounded
from enginesmith.converters.core.comparisons import Coverage
from enginesmith.converters.core.errors import ConversionError, first_line
from enginesmith.converters.core.samples import Array, Feed, Sample, SampleSet, telling
from enginesmith.converters.graphs.conditions import FAR
from enginesmith.converters.graphs.coverage import Observer, Wanted
from enginesmith.converters.graphs.index_ranges import decides_sizes, index_ranges
from enginesmith.converters.graphs.search import mutated

Outputs: TypeAlias = dict[str, Array]
Reference: TypeAlias = Callable[[Feed], Outputs]
"""The model itself. Raises whatever it likes for an input that it doesn't take."""

PROBING = 0.5
"""Seconds of the reference for probes: every comparison then runs each of them again. These and those below are of all
processors together, so that a busy machine makes no difference."""
WATCHING = 2.0
"""Seconds in which the graph is watched on samples, and the first one at least."""
SEARCHING = (0.5, 3.0)
"""Seconds for the search: a tenth of what this process has taken so far, within these."""
FOUND = 4
"""Samples that a search may add."""
SLOWEST = 5.0
"""Seconds, and `MEMORY` bytes, that the reference may take for a probe: a loop over a number of 2**31 is no sample."""
MEMORY = 4 * 2**30
BLENDING = frozenset(
    (
        "Conv",
        "ConvTranspose",
        "ConvInteger",
        "Resize",
        "Upsample",
        "GridSample",
        "RoiAlign",
        "DFT",
        "STFT",
        "LSTM",
        "GRU",
        "RNN",
    )
)
"""Operators whose algorithms multiply by zeros, each by others of its own: where an infinite one is spread is up to them."""
LARGE = 1000
"""Larger numbers are no sizes and no counts."""


@dataclass
class Exercised:
    """Samples with their results, ordinary ones first, and what they show. `coverage` is None where the graph can't run."""

    samples: SampleSet
    feeds: list[Feed]
    results: list[Outputs]
    coverage: Coverage | None = None

    def without(self, left_out: Collection[int], why: str) -> Exercised:
        """The same without some of the samples, which the coverage tells with the reason."""
        if not left_out:
            return self
        kept = [index for index in range(len(self.feeds)) if index not in left_out]
        if self.coverage is not None:
            self.coverage.refused += [f"{self.samples.samples[index].name}: {why}" for index in left_out]
        return Exercised(
            self.samples.model_copy(update={"samples": [self.samples.samples[index] for index in kept]}),
            [self.feeds[index] for index in kept],
            [self.results[index] for index in kept],
            self.coverage,
        )


@dataclass
class _Collection:
    """What is kept so far."""

    reference: Reference
    kept: list[tuple[Sample, Feed, Outputs]]
    refused: list[str] = field(default_factory=list)
    endless: bool = False
    """A probe took too long; so might others."""

    def add(self, sample: Sample, feed: Feed) -> bool:
        """Keep an input if the reference takes it, and its results say something."""
        try:
            with bounded(SLOWEST, MEMORY):
                outputs = self.reference(feed)
        except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything, and so may ONNX Runtime
            self.refused.append(f"{sample.name}: {type(error).__name__}: {first_line(error)[:120]}")
            self.endless |= isinstance(error, TooLong)
            return False
        if not telling(outputs):
            self.refused.append(f"{sample.name}: its results are infinite or NaN")
            return False
        self.kept.append((sample, feed, outputs))
        return True


def exercise(
    model: Path,
    samples: SampleSet,
    feeds: Sequence[Feed],
    results: Sequence[Outputs],
    reference: Reference,
    pace: float,
    scratch: Path,
    *,
    strict: bool,
    blending: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> Exercised:
    """Keep the probes among the samples that `reference` takes, and search for more where they don't show all.

    `results` are those of the ordinary samples, `pace` is how many seconds the reference takes for one. With `strict` a
    sample on which PyTorch leaves a result open is none. `blending` says that the model has an operator as those of `BLENDING`
    which the graph has in other words.
    """
    progress("samples that show more")
    ordinary = samples.ordinary()
    collection = _Collection(
        reference,
        [(samples.samples[index], feeds[index], results[place]) for place, index in enumerate(ordinary)],
    )
    observer = Observer(model, scratch, strict=strict)
    graph = observer.graph
    ranges = index_ranges(graph)
    most = int(PROBING / max(pace, 1e-6))
    proposals = [(s, f) for s, f in zip(samples.samples, feeds, strict=True) if s.probe]
    blending = blending or any(node.op_type in BLENDING for node in ordered(graph))
    for sample, feed in _suitable(graph, ranges, proposals, blending):
        if len(collection.kept) - len(ordinary) < most and not collection.endless:
            collection.add(sample, feed)
    coverage = None
    try:
        watched = _watch(observer, collection)
        quick = pace < SEARCHING[0] / 5 and not decides_sizes(graph)
        searched = _search(observer, collection, ranges, samples.bound) if quick else 0
        coverage = observer.record(watched + searched, searched)
    except ConversionError:  # on an ordinary sample: the comparison will say so
        traceback.print_exc()
    if coverage is not None:
        coverage.refused = collection.refused
    return Exercised(
        samples.model_copy(update={"samples": [sample for sample, _, _ in collection.kept]}),
        [feed for _, feed, _ in collection.kept],
        [outputs for _, _, outputs in collection.kept],
        coverage,
    )


def _suitable(
    graph: ir.Graph, ranges: Mapping[str, tuple[int, int]], proposals: Sequence[tuple[Sample, Feed]], blending: bool
) -> Iterator[tuple[Sample, Feed]]:
    """Indices brought into their tables; without what the graph's operators leave to each backend."""
    sized = decides_sizes(graph)
    for sample, feed in proposals:
        if blending and not all(np.isfinite(array).all() for array in feed.values() if array.dtype.kind == "f"):
            continue
        fitted = OrderedDict((name, _fitted(array, ranges.get(name))) for name, array in feed.items())
        if sized and any((abs(array.astype(np.float64)) > LARGE).any() for array in fitted.values()):
            continue
        yield sample, fitted


def _fitted(array: NDArray[Any], allowed: tuple[int, int] | None) -> Array:
    """Integers within the range of a table: its ends for the largest and smallest ones, others anywhere in it."""
    if allowed is None or array.dtype.kind not in "iu" or not array.size:
        return array
    low, high = allowed
    within = low + array.astype(np.int64) % (high - low + 1) if array.dtype != np.uint64 else array % (high + 1)
    largest = np.iinfo(array.dtype).max
    return np.where(array >= largest - 1, high, within).astype(array.dtype)


def _watch(observer: Observer, collection: _Collection) -> int:
    """See what the samples show, probes first after the first one, as far as time goes. Probes on which a result is open go,
    and so do those that there was no time to look at, where one may be. Returns how many were looked at.
    """
    watched = 0
    end = time.process_time() + WATCHING
    dropped = set()
    places = sorted(range(len(collection.kept)), key=lambda place: place > 0 and not collection.kept[place][0].probe)
    for place in places:
        sample, feed, _ = collection.kept[place]
        if place and time.process_time() > end:
            dropped |= {place} if sample.probe and observer.watchful else set()
            continue
        watched += 1
        if not (observer.unmet() or (observer.watchful and sample.probe)):
            continue
        try:
            seen = observer.see(feed)
        except ConversionError:
            if not sample.probe:
                raise
            continue  # the model takes it, and so must the graph
        if sample.probe and seen.undefined:
            collection.refused.append(f"{sample.name}: {seen.undefined}")
            dropped.add(place)
        else:
            observer.take(seen)
    collection.kept = [each for place, each in enumerate(collection.kept) if place not in dropped]
    return watched


def _search(
    observer: Observer, collection: _Collection, ranges: Mapping[str, tuple[int, int]], bound: Sequence[str]
) -> int:
    """Change samples at random, and go on from those that come nearer to what is missing. Returns how many it added."""
    end = time.process_time() + min(max(SEARCHING[0], time.process_time() / 10), SEARCHING[1])
    rng = np.random.default_rng(0)
    shapes = [array.shape for array in collection.kept[0][1].values()]
    pool = [feed for _, feed, _ in collection.kept if [array.shape for array in feed.values()] == shapes]
    nearest: dict[Wanted, float] = {}
    added = 0
    while observer.unmet() and added < FOUND and not collection.endless and time.process_time() < end:
        recent = pool[-8:] if rng.random() < 0.7 else pool
        feed = mutated(recent[rng.integers(len(recent))], pool, ranges, rng, bound)
        try:
            seen = observer.see(feed)
        except ConversionError:
            continue
        if seen.undefined:
            continue
        if seen.met and collection.add(Sample(name=f"searched {added + 1}", probe="far"), feed):
            observer.take(seen)
            added += 1
        nearer = [each for each, distance in seen.distances.items() if distance < nearest.get(each, FAR)]
        if nearer or seen.met:
            nearest |= {each: seen.distances[each] for each in nearer}
            pool.append(feed)
    collection.refused = [line for line in collection.refused if not line.startswith("searched")]
    return added
