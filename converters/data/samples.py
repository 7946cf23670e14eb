"""Inputs to compare on: the user's own, others like them, shipped pictures and seeded random data, at every size that matters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from enginesmith.converters.core.inputs import InputSpec, at, listed_shapes, written
from enginesmith.converters.core.samples import Array, Feed, Pixels, Sample, SampleSet
from enginesmith.converters.data import pictures
from enginesmith.converters.data.maker import WAYS, Maker, Way
from enginesmith.converters.data.probes import probes


@dataclass(frozen=True)
class Own:
    """The inputs that the user gave, by name, of the dtypes that the model takes."""

    example: Feed = field(default_factory=OrderedDict)
    """What the model came with. It may lack inputs, and be of other sizes than were asked for."""
    more: Sequence[tuple[str, Feed]] = ()
    """Further ones, each with what it is called, of sizes that were asked for."""
    tables: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """The lowest and the highest index that an input may hold, where that is known without any."""

    def ways(self, specs: Sequence[InputSpec]) -> tuple[Way, ...]:
        """How inputs may be made up beside these, the likeliest first."""
        known = self.pattern(specs)
        unknown = any("int" in spec.dtype and spec.name not in (*known, *self.tables) for spec in specs)
        ways = WAYS if unknown else WAYS[:1]
        return (*ways, ways[0]._replace(varied=False)) if known else ways

    def pattern(self, specs: Sequence[InputSpec]) -> Feed:
        """What others are like."""
        feed = self.example or next((feed for _, feed in self.more), OrderedDict())
        return OrderedDict((s.name, feed[s.name]) for s in specs if s.name in feed and _alike(s, feed[s.name]))


def _alike(spec: InputSpec, array: Array) -> bool:
    return array.dtype.name == spec.dtype and array.ndim == len(spec.dims)


def make_samples(
    specs: Sequence[InputSpec],
    task: str,
    count: int,
    seed: int,
    *,
    pixels: Pixels = "unknown",
    own: Own | None = None,
    way: Way = WAYS[0],
) -> tuple[SampleSet, list[Feed]]:
    """The user's `own` first; until there are `count` at the optimum shape, others; with dynamic dimensions one more each at
    the minimum, the maximum and a size that the export does not see, because exporters bake sizes in silently, or at each
    shape where they were listed; and the first one again, which shows a model that keeps state between calls. Then the
    probes, at the optimum shape, which the model needn't take.

    Those that are made up are like the user's (`derived`); pictures go to inputs that take them, as `pixels` says; in 0..1
    where that is unknown.
    """
    import numpy as np

    own = own or Own()
    maker = Maker(specs, own.pattern(specs), pixels, way, np.random.default_rng(seed), own.tables)
    names = pictures.names()
    shows = maker.shows_pictures()
    found = _given(maker, own)
    given = len(found)
    for index in range(given, count):
        # the last of several is random: pictures alone are all smooth
        some = shows and index - given < min(max(count - given - 1, 1), len(names))
        picture = names[index - given] if some else ""
        called = picture or f"{'derived' if maker.pattern else 'random'} {index}"
        found.append((Sample(name=called, picture=picture), maker.other(picture)))
    first = names[0] if shows else ""
    for listed in listed_shapes(specs)[1:]:
        sample = Sample(name=written(listed), picture=first, optimum=False, listed=True)
        found.append((sample, maker.feed([*listed.values()], first)))
    if any(spec.dynamic and not spec.shapes for spec in specs):
        places: tuple[Literal["min", "max", "unseen"], ...] = ("min", "max", "unseen")
        for place in places:
            sample = Sample(name=f"{place} size", picture=first, optimum=False)
            found.append((sample, maker.at(at(specs, place)).feed(None, first)))
    sample, base = found[0]
    found.append((sample.model_copy(update={"name": f"{sample.name} again"}), base))
    telling = representative([sample for sample, _ in found], [feed for _, feed in found])
    bound = maker.bound()
    found += probes([spec for spec in specs if spec.name not in bound], telling, pixels, seed)
    samples = [sample for sample, _ in found]
    made = SampleSet(task=task, pixels=pixels, specs=tuple(specs), samples=samples, bound=tuple(sorted(bound)))
    return made, [feed for _, feed in found]


def finite(made: SampleSet, feeds: Sequence[Feed], *, keep_infinite: bool = False) -> tuple[SampleSet, list[Feed]]:
    """Without the probes that hold NaN or infinities; with `keep_infinite` those that hold infinities stay."""
    import numpy as np

    def fine(array: Array) -> Any:
        return ~np.isnan(array) if keep_infinite else np.isfinite(array)

    kept = [
        index
        for index, (sample, feed) in enumerate(zip(made.samples, feeds, strict=True))
        if not sample.probe or all(array.dtype.kind != "f" or fine(array).all() for array in feed.values())
    ]
    return made.model_copy(update={"samples": [made.samples[index] for index in kept]}), [feeds[i] for i in kept]


def representative(samples: Sequence[Sample], feeds: Sequence[Feed]) -> Feed:
    """The first sample, unless it holds nothing but one number (many a user's example is all zeros): then the first at the optimum
    that holds more.
    """
    found = (feed for sample, feed in zip(samples, feeds, strict=True) if sample.optimum and _telling(feed))
    return next(found, feeds[0])


def _given(maker: Maker, own: Own) -> list[tuple[Sample, Feed]]:
    """The user's own, those at the optimum shape first. An example at another shape is fitted to it."""
    found = []
    if maker.pattern and own.example:
        whole = len(maker.pattern) == len(maker.specs)
        fits = whole and _at_optimum(maker.specs, maker.pattern)
        feed = maker.pattern if fits else maker.fitted()
        found.append((Sample(name="example" if fits else "example, fitted", own=fits), feed))
        if whole and not fits and _allowed(maker.specs, maker.pattern):
            found.append((Sample(name="example", own=True, optimum=False), maker.pattern))
    for name, feed in own.more:
        found.append((Sample(name=name, own=True, optimum=_at_optimum(maker.specs, feed)), feed))
    if found and not any(sample.optimum for sample, _ in found):
        found.append((Sample(name=f"{found[0][0].name}, fitted"), maker.fitted()))
    return sorted(found, key=lambda each: not each[0].optimum)


def _at_optimum(specs: Sequence[InputSpec], feed: Feed) -> bool:
    """Of the shapes, and with the values, that are the likeliest."""
    return all(
        feed[spec.name].shape == spec.opt and (spec.values is None or bool((feed[spec.name] == spec.values.opt).all()))
        for spec in specs
    )


def _allowed(specs: Sequence[InputSpec], feed: Feed) -> bool:
    """Within the ranges that were asked for, and no other one of several listed shapes."""

    def within(spec: InputSpec, array: Array) -> bool:
        shaped = all(dim.min <= size <= dim.max for dim, size in zip(spec.dims, array.shape, strict=True))
        known = spec.values
        return shaped and (known is None or all(known.min <= int(value) <= known.max for value in array.ravel()))

    return all(not spec.shapes and within(spec, feed[spec.name]) for spec in specs)


def _telling(feed: Feed) -> bool:
    """Has every input of floats more than one value?"""
    return all(
        array.dtype.kind != "f" or array.size < 2 or bool((array != array.flat[0]).any()) for array in feed.values()
    )
