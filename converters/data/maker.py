"""Makes the inputs of a sample up, as far as possible like the user's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array, Feed, Pixels
from enginesmith.converters.data.invented import invented, pictured
from enginesmith.converters.data.picture_inputs import takes_pictures

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
class Maker:
    """Makes inputs up, as far as possible like the `pattern`."""

    specs: Sequence[InputSpec]
    pattern: Feed
    pixels: Pixels
    way: Way
    rng: np.random.Generator
    tables: Mapping[str, tuple[int, int]]
    traits_stay: bool = True

    @property
    def optimum(self) -> list[tuple[int, ...]]:
        return [spec.opt for spec in self.specs]

    def shows_pictures(self) -> bool:
        """Do pictures go to any input?"""
        return any(self._pictured(spec) for spec in self.specs)

    def _pictured(self, spec: InputSpec) -> bool:
        from enginesmith.converters.data.derived import is_binary

        if not self.way.varied or not takes_pictures(spec):
            return False
        return spec.name not in self.pattern or not is_binary(self.pattern[spec.name])

    def at(self, specs: Sequence[InputSpec]) -> Maker:
        """The same for other sizes and values."""
        return replace(self, specs=specs)

    def feed(self, shapes: Sequence[tuple[int, ...]] | None, picture: str) -> Feed:
        """At these shapes, or at the optimum, with this picture and those behind it where it has a name."""
        if not self.way.varied:
            return self.fitted(shapes)
        return self._made(shapes or self.optimum, picture, self._like)

    def other(self, picture: str) -> Feed:
        """At the optimum, and not the same as the pattern, even if what is seen in that has to go."""
        feed = self.feed(self.optimum, picture)
        same = len(self.pattern) == len(feed) and all(_same(array, self.pattern[name]) for name, array in feed.items())
        return replace(self, traits_stay=False).feed(self.optimum, picture) if same else feed

    def bound(self) -> set[str]:
        """The inputs that probes would give no meaning, if there are others."""
        from enginesmith.converters.data.derived import bound

        names = {name for name, array in self.pattern.items() if bound(array)}
        return names if len(names) < len(self.specs) else set()

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
                feed[spec.name] = self._random(spec, shape)
            else:
                feed[spec.name] = like(spec, observed, shape)
        return OrderedDict(following(feed, self.pattern))

    def _like(self, spec: InputSpec, observed: Array, shape: tuple[int, ...]) -> Array:
        from enginesmith.converters.data.derived import derived

        blank = observed.dtype.kind == "f" and observed.size > 1 and bool((observed == observed.flat[0]).all())
        if blank and "mask" not in spec.name.lower():  # zeros or ones, of which nothing comes
            return self._random(spec, shape)
        return derived(observed, shape, self.rng, spec.name, traits_stay=self.traits_stay)

    def _random(self, spec: InputSpec, shape: tuple[int, ...]) -> Array:
        low, high = self.tables.get(spec.name, (0, 0))
        return invented(spec, shape, self.pixels, self.rng, (low, high + 1) if high else self.way.integers)


def _same(one: Array, other: Array) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()
