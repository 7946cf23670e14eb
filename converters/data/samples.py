"""Inputs to compare on: shipped pictures and seeded random data, at every size that matters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec, at, listed_shapes, written
from enginesmith.converters.core.samples import Array, Feed, Pixels, Sample, SampleSet
from enginesmith.converters.data import pictures
from enginesmith.converters.data.picture_inputs import as_input, takes_pictures
from enginesmith.converters.data.probes import is_mask, mask, probes

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
INTEGERS = ((0, 10), (1, 10), (0, 2), (0, 1))
"""Ranges that integers are drawn from, the second one left out: what most vocabularies have; divisors; flags; the one row of
a table."""


def with_legal_integers(specs: Sequence[InputSpec], attempt: Callable[[tuple[int, int]], T]) -> T:
    """What `attempt` makes of the first range whose integers the model takes.

    Raises the UserError of the first one where it takes none, or has no integers.
    """
    refusals = []
    for integers in INTEGERS if any("int" in spec.dtype for spec in specs) else INTEGERS[:1]:
        try:
            return attempt(integers)
        except UserError as error:
            refusals.append(error)
    raise refusals[0]


def make_samples(
    specs: Sequence[InputSpec],
    task: str,
    count: int,
    seed: int,
    *,
    pixels: Pixels = "unknown",
    example: Sequence[Array] = (),
    integers: tuple[int, int] = INTEGERS[0],
) -> tuple[SampleSet, list[Feed]]:
    """`count` samples at the optimum shape; with dynamic dimensions one more each at the minimum, the maximum and a size
    that the export does not see, because exporters bake sizes in silently, or at each shape where they were listed; and
    the first one again, which shows a model that keeps state between calls. Then the probes, at the optimum shape, which
    the model needn't take.

    Pictures go to float inputs of shape [N, 3 or 1, H, W], as `pixels` says; in 0..1 where that is unknown. `example` has
    inputs that the model surely takes: at these shapes they are the first sample, unless there are pictures or they hold
    nothing but one number, and all integers are drawn from them. Else these are between the first of `integers` and before
    the second.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    names = pictures.names()
    pictured = any(takes_pictures(spec) for spec in specs)
    samples, feeds = [], []
    given = _given(specs, example)
    if given and not pictured and _telling(given):
        samples.append(Sample(name="example"))
        feeds.append(given)
    for index in range(len(feeds), count):
        # the last of several is random: pictures alone are all smooth
        picture = names[index] if pictured and index < min(max(count - 1, 1), len(names)) else ""
        samples.append(Sample(name=picture or f"random {index}", picture=picture))
        feeds.append(_feed(specs, [spec.opt for spec in specs], picture, pixels, rng, given, integers))
    for listed in listed_shapes(specs)[1:]:
        picture = names[0] if pictured else ""
        samples.append(Sample(name=written(listed), picture=picture, optimum=False, listed=True))
        feeds.append(_feed(specs, list(listed.values()), picture, pixels, rng, given, integers))
    if any(spec.dynamic and not spec.shapes for spec in specs):
        places: tuple[Literal["min", "max", "unseen"], ...] = ("min", "max", "unseen")
        for place in places:
            picture = names[0] if pictured else ""
            fixed = at(specs, place)
            samples.append(Sample(name=f"{place} size", picture=picture, optimum=False))
            feeds.append(_feed(fixed, [spec.opt for spec in fixed], picture, pixels, rng, given, integers))
    samples.append(samples[0].model_copy(update={"name": f"{samples[0].name} again"}))
    feeds.append(feeds[0])
    for sample, feed in probes(specs, feeds[0], pixels, seed):
        samples.append(sample)
        feeds.append(feed)
    return SampleSet(task=task, pixels=pixels, specs=tuple(specs), samples=samples), feeds


def _feed(
    specs: Sequence[InputSpec],
    shapes: Sequence[tuple[int, ...]],
    picture: str,
    pixels: Pixels,
    rng: np.random.Generator,
    given: Feed,
    integers: tuple[int, int],
) -> Feed:
    """Integers are those of the `given` example in another order, since they may mean anything; those that decide on sizes
    are what was said."""
    import numpy as np

    feed: Feed = OrderedDict()
    for spec, shape in zip(specs, shapes, strict=True):
        if picture and takes_pictures(spec):
            feed[spec.name] = _pictures(shape, picture, pixels).astype(spec.dtype)
        elif spec.values is not None:
            feed[spec.name] = np.full(shape, spec.values.opt, spec.dtype)
        elif spec.name in given and "int" in spec.dtype and given[spec.name].size:
            feed[spec.name] = rng.choice(given[spec.name].ravel(), shape)
        else:
            feed[spec.name] = _random(spec, shape, pixels, rng, integers)
    return feed


def _given(specs: Sequence[InputSpec], example: Sequence[Array]) -> Feed:
    """The example by name; empty where it has other shapes."""
    fits = [(array.shape, array.dtype.name) for array in example] == [(spec.opt, spec.dtype) for spec in specs]
    return (
        OrderedDict((spec.name, array) for spec, array in zip(specs, example, strict=True)) if fits else OrderedDict()
    )


def _telling(feed: Feed) -> bool:
    """Has every input of floats more than one value?"""
    return all(
        array.dtype.kind != "f" or array.size < 2 or bool((array != array.flat[0]).any()) for array in feed.values()
    )


def _pictures(shape: tuple[int, ...], first: str, pixels: Pixels) -> Array:
    """A batch of different pictures, float32 [N, C, H, W]."""
    import numpy as np

    batch, channels, height, width = shape
    names = pictures.names()
    start = names.index(first)
    images = [pictures.load(names[(start + i) % len(names)], height, width) for i in range(batch)]
    return as_input(np.stack(images).astype(np.float32) / 255, channels, pixels)


def _texture(shape: tuple[int, ...], pixels: Pixels, rng: np.random.Generator) -> Array:
    """Random patches at several scales. In white noise every place is like every other, so that a detector's scores
    are all ties, and no network has seen it: rounding would decide what comes out.
    """
    import numpy as np

    batch, channels, height, width = shape
    total = np.zeros((batch, height, width, 3), np.float32)
    for size in (2, 8, 32):
        coarse = rng.random((batch, -(-height // size), -(-width // size), 3), np.float32)
        total += coarse.repeat(size, axis=1).repeat(size, axis=2)[:, :height, :width]
    return as_input(total / 3, channels, pixels)


def _random(
    spec: InputSpec, shape: tuple[int, ...], pixels: Pixels, rng: np.random.Generator, integers: tuple[int, int]
) -> Array:
    """Floats: a texture, uniform in 0..1, or standard normal where pictures are normalized. Integers: as given, 0 and 1 in a
    mask.
    """
    import numpy as np

    dtype = spec.dtype
    if takes_pictures(spec):
        return _texture(shape, pixels, rng).astype(dtype)
    if dtype == "bool":
        return mask(shape, rng)
    if dtype.startswith("float"):
        values = rng.standard_normal(shape) if pixels == "imagenet" else rng.random(shape)
        return np.asarray(values, dtype=dtype)
    if is_mask(spec):
        return mask(shape, rng).astype(dtype)
    return rng.integers(*integers, shape).astype(dtype)
