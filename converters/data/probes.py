"""Samples for what ordinary ones don't show: signs, magnitudes, ties, special values, layouts, extreme pictures.

Each changes all float inputs of an ordinary sample, or all integers. Whether the model takes it is the reference's to say.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Feed, Pixels, Sample
from enginesmith.converters.data.picture_inputs import Frame, as_input, frame, takes_pictures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
    Make: TypeAlias = Callable[[Array, np.random.Generator], Array]
    """From an ordinary array another one of the same shape and dtype."""

DECADES = (-4.0, 5.0)
"""Of the magnitudes of floats."""
HALF_DECADES = (-4.0, 3.0)
"""Of float16, which ends at 65504."""
MAGNITUDES = (89.0, -89.0, 128.0, 255.5, 300.7, -300.7, 1e4, -1e4, 7e4)
"""Where exp and 8 bits end, and float16."""
LANDMARKS = (2**31 - 1, 2**31, 2**31 + 1, -(2**31) - 1, 2**33 + 5, 2**53 + 1, -(2**53) - 1)
"""Where int32 ends, and the whole numbers of float64."""
SMALL = 9
BYTE = 255
NEAR = frozenset(("high contrast", "checkerboard", "black", "white", "both signs", "ties", "small positive"))
"""Probes with values of the size of ordinary ones, which come first."""


def probes(specs: Sequence[InputSpec], base: Feed, pixels: Pixels, seed: int) -> Iterator[tuple[Sample, Feed]]:
    """Those first that show most. Pictures for a model whose pixels are known stay within their range."""
    import numpy as np

    framed = [spec for spec in specs if takes_pictures(spec)]
    floats = [s for s in specs if s.dtype.startswith("float") and (pixels == "unknown" or s not in framed)]
    integers = [spec for spec in specs if "int" in spec.dtype and spec.values is None]
    tables = ((framed, lambda spec: _pictures(spec, pixels)), (floats, lambda spec: FLOATS), (integers, _integers))
    number = 0
    for chosen, table in tables:
        made = {spec.name: table(spec) for spec in chosen}
        for label in next(iter(made.values()), {}):
            rng = np.random.default_rng([seed, number])
            number += 1
            feed: Feed = OrderedDict(base)
            for name in made:
                feed[name] = np.array(made[name][label](base[name], rng), dtype=base[name].dtype, order="C")
            yield Sample(name=label, probe="near" if label in NEAR else "far"), feed


def is_mask(spec: InputSpec) -> bool:
    """Does an integer input hold zeros and ones, by its name?"""
    return "mask" in spec.name.lower()


def mask(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Booleans that hide and show something in every row: a row hidden altogether has no meaning."""
    import numpy as np

    made = rng.integers(0, 2, shape).astype(bool)
    if shape and shape[-1] > 1:
        same = made.all(axis=-1) | ~made.any(axis=-1)
        made[..., 0] = np.where(same, ~made[..., 0], made[..., 0])
    return made


def _signs(base: Array, rng: np.random.Generator) -> Array:
    """Normal, every other one a multiple of a half, at which roundings differ."""
    import numpy as np

    drawn = rng.standard_normal(base.shape) * 2
    return np.where(rng.random(base.shape) < 0.5, np.round(drawn * 2) / 2, drawn)


def _positive(most: int) -> Make:
    """For what negative ones are no input of, such as a cast to unsigned integers; every other one a multiple of a half."""

    def make(base: Array, rng: np.random.Generator) -> Array:
        import numpy as np

        drawn = rng.uniform(0, most, base.shape)
        return np.where(rng.random(base.shape) < 0.5, np.round(drawn * 2) / 2, drawn)

    return make


def _placed(values: Sequence[float], here: Array, others: Array, rng: np.random.Generator) -> Array:
    """The values in turn, so that none is missing where there is room for all; `others` where none is to be put."""
    import numpy as np

    made = np.array(others, np.float64)
    places = np.flatnonzero(here)
    made.ravel()[places] = np.resize(rng.permutation(values), len(places))
    return made


def _wide(base: Array, rng: np.random.Generator) -> Array:
    half = base.dtype.itemsize == 2
    drawn = _sign(base, rng) * 10 ** rng.uniform(*(HALF_DECADES if half else DECADES), base.shape)
    known = [mark for mark in MAGNITUDES if not half or abs(mark) < 10 ** HALF_DECADES[1]]
    return _placed(known, rng.random(base.shape) < 0.5, drawn, rng)


def _sprinkled(values: Sequence[float]) -> Make:
    """Some of these in every other row of the first axis: what they spread to must not be all that there is."""

    def make(base: Array, rng: np.random.Generator) -> Array:

        here = rng.random(base.shape) < 0.5
        if base.ndim > 1 and len(base) > 1:
            here[1::2] = False
        elif base.ndim:
            here[..., 1::2] = False
        return _placed(values, here, _signs(base, rng), rng)

    return make


def _ascending(base: Array, rng: np.random.Generator) -> Array:
    """Along the last axis: the last place has the largest."""
    import numpy as np

    return np.sort(rng.standard_normal(base.shape) * 3, axis=-1) if base.ndim else np.asarray(3.0)


def _sign(base: Array, rng: np.random.Generator) -> Array:
    import numpy as np

    return np.asarray(rng.choice(np.array([-1, 1]), base.shape))


FLOATS: Mapping[str, Make] = {
    "both signs": _signs,
    "ties": lambda base, rng: rng.integers(-1, 2, base.shape),
    "small positive": _positive(SMALL),
    "positive up to a byte": _positive(BYTE),
    "wide magnitudes": _wide,
    "infinite": _sprinkled((math.inf, -math.inf, -0.0)),
    "NaN": _sprinkled((math.nan,)),
    "negated": lambda base, rng: -base,
    "zeros": lambda base, rng: abs(base) * 0,  # none of them negative: those are for "infinite"
    "ascending": _ascending,
    "descending": lambda base, rng: -_ascending(base, rng),
}


def _within(values: Array, dtype: np.dtype[Any]) -> Array:
    """Clipped to what the dtype has, less its minimum: that one's negative and its quotient by -1 don't exist, and the division
    ends the process.
    """
    import numpy as np

    info = np.iinfo(dtype)
    return np.clip(values, info.min + 1 if info.min else 0, info.max).astype(dtype)


def _small(base: Array, rng: np.random.Generator) -> Array:
    return _within(rng.integers(-SMALL, SMALL + 1, base.shape), base.dtype)


def _large(base: Array, rng: np.random.Generator) -> Array:
    """Every number of bits alike, and landmarks among them."""
    import numpy as np

    info = np.iinfo(base.dtype)
    bits = info.bits - (1 if info.min else 0)
    drawn = (2 ** rng.uniform(0, bits - 1e-6, base.shape)).astype(np.uint64)
    if not info.min:
        return drawn.astype(base.dtype)
    values = drawn.astype(np.int64) * _sign(base, rng)
    known = [mark for mark in LANDMARKS if info.min < mark <= info.max] or [info.max]
    return np.where(rng.random(base.shape) < 0.5, rng.choice(np.array(known), base.shape), values)


def _ends(base: Array, rng: np.random.Generator) -> Array:
    import numpy as np

    info = np.iinfo(base.dtype)
    ends = [info.max, info.max - 1, 0, 1, *((info.min + 1, -1) if info.min else ())]
    return rng.choice(np.array(ends, base.dtype), base.shape)


def _counted(base: Array, rng: np.random.Generator) -> Array:
    """Ascending from a negative one along the last axis."""
    import numpy as np

    values = np.arange(base.shape[-1] if base.ndim else 1) - (base.shape[-1] // 2 if base.ndim else 0)
    return _within(np.broadcast_to(values if base.ndim else values[0], base.shape), base.dtype)


INTEGERS: Mapping[str, Make] = {
    "integers of both signs": _small,
    "large integers": _large,
    "equal integers": lambda base, rng: rng.integers(0, 2, base.shape),
    "largest and smallest integers": _ends,
    "ascending integers": _counted,
}


def _integers(spec: InputSpec) -> Mapping[str, Make]:
    """All of them in a mask have no meaning but that of zeros and ones."""
    if not is_mask(spec):
        return INTEGERS
    return dict.fromkeys(INTEGERS, lambda base, rng: mask(base.shape, rng))


def _pictures(spec: InputSpec, pixels: Pixels) -> Mapping[str, Make]:
    """Within the range of the pixels: the darkest is that of 0, the brightest that of 1."""
    import numpy as np

    def axes(base: Array) -> Frame:
        found = frame(spec, base.shape)
        assert found is not None
        return found

    def uniform(level: float, base: Array) -> Array:
        batch, _, height, width, _ = axes(base)
        return as_input(np.full((batch, height, width, 3), level, np.float32), spec, pixels)

    def checkerboard(base: Array, rng: np.random.Generator) -> Array:
        _, _, height, width, last = axes(base)
        rows, columns = np.ogrid[:height, :width]
        squares = (rows // 4 + columns // 4) % 2
        return np.where(squares[..., None] if last else squares, uniform(1, base), uniform(0, base))

    def contrast(base: Array, rng: np.random.Generator) -> Array:
        """The negative, with nothing between dark and bright."""
        middle = np.median(base, axis=(1, 2) if axes(base).last else (2, 3), keepdims=True)
        return np.where(base > middle, uniform(0, base), uniform(1, base))

    return {
        "high contrast": contrast,
        "checkerboard": checkerboard,
        "black": lambda base, rng: uniform(0, base),
        "white": lambda base, rng: uniform(1, base),
    }
