"""Inputs to compare on: the user's own, others like them, shipped pictures and seeded random data, at every size that matters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from enginesmith.converters.core.inputs import InputSpec, at, listed_shapes, written
from enginesmith.converters.core.samples import Array, Feed, Pixels, Sample, SampleSet
from enginesmith.converters.data import pictures
from enginesmith.converters.data.invented import invented, pictured
from enginesmith.converters.data.picture_inputs import takes_pictures
from enginesmith.converters.data.probes import probes

if TYPE_CHECKING:
    import numpy as np

Like: TypeAlias = Callable[[InputSpec, Array, tuple[int, ...]], Array]
"""From what was observed of an input one of this shape."""


class Way(NamedTuple):
    """How to make inputs up: where one isn't taken, another may be."""

    integers: tuple[int, int] = (0, 10)
    """Those of inputs of which no example is known are between the first and before the second."""
    varied: bool = True
    """Unlike the example; else it, cut off or repeated to the size."""


WAYS = (Way(), Way(integers=(1, 10)), Way(integers=(0, 2)), Way(integers=(0, 1)))
"""What most vocabularies have; divisors; flags; the one row of a table."""


@dataclass(frozen=True)
class Own:
    """The inputs that the user gave, by name, of the dtypes that the model takes."""

    example: Feed = field(default_factory=OrderedDict)
    """What the model came with. It may lack inputs, and be of other sizes than were asked for."""
    more: Sequence[tuple[str, Feed]] = ()
    """Further ones, each with what it is called, of sizes that were asked for."""

    def ways(self, specs: Sequence[InputSpec]) -> tuple[Way, ...]:
        """How inputs may be made up beside these, the likeliest first."""
        known = self.pattern(specs)
        unknown = any("int" in spec.dtype and spec.name not in known for spec in specs)
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
    maker = _Maker(specs, own.pattern(specs), pixels, way, np.random.default_rng(seed))
    names = pictures.names()
    shows = maker.shows_pictures()
    found = _given(maker, own)
    given = len(found)
    for index in range(given, count):
        # the last of several is random: pictures alone are all smooth
        some = shows and index - given < min(max(count - given - 1, 1), len(names))
        picture = names[index - given] if some else ""
        called = picture or f"{'derived' if maker.pattern else 'random'} {index}"
        found.append((Sample(name=called, picture=picture), maker.feed(maker.optimum, picture)))
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
    found += probes(specs, representative([sample for sample, _ in found], [feed for _, feed in found]), pixels, seed)
    samples = SampleSet(task=task, pixels=pixels, specs=tuple(specs), samples=[sample for sample, _ in found])
    return samples, [feed for _, feed in found]


def representative(samples: Sequence[Sample], feeds: Sequence[Feed]) -> Feed:
    """The first sample, unless it holds nothing but one number (many a user's example is all zeros): then the first at the optimum
    that holds more.
    """
    found = (feed for sample, feed in zip(samples, feeds, strict=True) if sample.optimum and _telling(feed))
    return next(found, feeds[0])


def _given(maker: _Maker, own: Own) -> list[tuple[Sample, Feed]]:
    """The user's own, those at the optimum shape first. An example at another shape is fitted to it."""
    found = []
    if maker.pattern and own.example:
        whole = len(maker.pattern) == len(maker.specs)
        fits = whole and [array.shape for array in maker.pattern.values()] == maker.optimum
        feed = maker.pattern if fits else maker.fitted()
        found.append((Sample(name="example" if fits else "example, fitted", own=fits), feed))
        shapes = {name: array.shape for name, array in maker.pattern.items()}
        if whole and not fits and _allowed(maker.specs, shapes):
            found.append((Sample(name="example", own=True, optimum=False), maker.pattern))
    for name, feed in own.more:
        here = [feed[spec.name].shape for spec in maker.specs] == maker.optimum
        found.append((Sample(name=name, own=True, optimum=here), feed))
    if found and not any(sample.optimum for sample, _ in found):
        found.append((Sample(name=f"{found[0][0].name}, fitted"), maker.fitted()))
    return sorted(found, key=lambda each: not each[0].optimum)


def _allowed(specs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Within the ranges that were asked for, and no other one of several listed shapes."""
    return all(
        not spec.shapes
        and all(dim.min <= size <= dim.max for dim, size in zip(spec.dims, shapes[spec.name], strict=True))
        for spec in specs
    )


def _telling(feed: Feed) -> bool:
    """Has every input of floats more than one value?"""
    return all(
        array.dtype.kind != "f" or array.size < 2 or bool((array != array.flat[0]).any()) for array in feed.values()
    )


class _Maker:
    """Makes inputs up, as far as possible like the `pattern`."""

    def __init__(
        self, specs: Sequence[InputSpec], pattern: Feed, pixels: Pixels, way: Way, rng: np.random.Generator
    ) -> None:
        self.specs = specs
        self.pattern = pattern
        self.pixels = pixels
        self.way = way
        self.rng = rng
        self.optimum = [spec.opt for spec in specs]

    def shows_pictures(self) -> bool:
        """Do pictures go to any input?"""
        return any(self._pictured(spec) for spec in self.specs)

    def _pictured(self, spec: InputSpec) -> bool:
        from enginesmith.converters.data.derived import is_binary

        if not self.way.varied or not takes_pictures(spec):
            return False
        return spec.name not in self.pattern or not is_binary(self.pattern[spec.name])

    def at(self, specs: Sequence[InputSpec]) -> _Maker:
        """The same for other sizes and values."""
        return _Maker(specs, self.pattern, self.pixels, self.way, self.rng)

    def feed(self, shapes: Sequence[tuple[int, ...]] | None, picture: str) -> Feed:
        """At these shapes, or at the optimum, with this picture and those behind it where it has a name."""
        if not self.way.varied:
            return self.fitted(shapes)
        return self._made(shapes or self.optimum, picture, self._like)

    def fitted(self, shapes: Sequence[tuple[int, ...]] | None = None) -> Feed:
        """The pattern, cut off or repeated."""
        from enginesmith.converters.data.derived import resized

        return self._made(shapes or self.optimum, "", lambda spec, observed, shape: resized(observed, shape))

    def _made(self, shapes: Sequence[tuple[int, ...]], picture: str, like: Like) -> Feed:
        import numpy as np

        from enginesmith.converters.data.derived import following

        feed: Feed = OrderedDict()
        for spec, shape in zip(self.specs, shapes, strict=True):
            observed = self.pattern.get(spec.name)
            if spec.values is not None:
                feed[spec.name] = np.full(shape, spec.values.opt, spec.dtype)
            elif picture and self._pictured(spec):
                feed[spec.name] = pictured(spec, shape, picture, self.pixels, observed)
            elif observed is None or (not observed.size and 0 not in shape):
                feed[spec.name] = invented(spec, shape, self.pixels, self.rng, self.way.integers)
            else:
                feed[spec.name] = like(spec, observed, shape)
        return OrderedDict(following(feed, self.pattern))

    def _like(self, spec: InputSpec, observed: Array, shape: tuple[int, ...]) -> Array:
        from enginesmith.converters.data.derived import derived

        blank = observed.dtype.kind == "f" and observed.size > 1 and bool((observed == observed.flat[0]).all())
        if blank and "mask" not in spec.name.lower():  # zeros or ones, of which nothing comes
            return invented(spec, shape, self.pixels, self.rng, self.way.integers)
        return derived(observed, shape, self.rng, spec.name)
