"""Inputs to compare on: shipped pictures and seeded random data, at every size that matters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from enginesmith.converters.core.inputs import InputSpec, listed_shapes, written
from enginesmith.converters.core.samples import Array, Feed, Pixels, Sample, SampleSet
from enginesmith.converters.data import pictures

if TYPE_CHECKING:
    import numpy as np

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def make_samples(
    specs: Sequence[InputSpec], task: str, count: int, seed: int, *, pixels: Pixels = "unknown"
) -> tuple[SampleSet, list[Feed]]:
    """`count` samples at the optimum shape; with dynamic dimensions one more each at the minimum, the maximum and a size
    that the export does not see, because exporters bake sizes in silently, or at each shape where they were listed; and
    the first one again at the end, which shows a model that keeps state between calls.

    Pictures go to float inputs of shape [N, 3 or 1, H, W], as `pixels` says; in 0..1 where that is unknown.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    names = pictures.names()
    pictured = any(takes_pictures(spec) for spec in specs)
    samples, feeds = [], []
    for index in range(count):
        # the last of several is random: pictures alone are all smooth
        picture = names[index] if pictured and index < min(max(count - 1, 1), len(names)) else ""
        samples.append(Sample(name=picture or f"random {index}", picture=picture))
        feeds.append(_feed(specs, [spec.opt for spec in specs], picture, pixels, rng))
    for listed in listed_shapes(specs)[1:]:
        picture = names[0] if pictured else ""
        samples.append(Sample(name=written(listed), picture=picture, optimum=False, listed=True))
        feeds.append(_feed(specs, list(listed.values()), picture, pixels, rng))
    if any(spec.dynamic and not spec.shapes for spec in specs):
        for label in ("min", "max", "unseen"):
            picture = names[0] if pictured else ""
            shapes = [getattr(spec, label) for spec in specs]
            samples.append(Sample(name=f"{label} size", picture=picture, optimum=False))
            feeds.append(_feed(specs, shapes, picture, pixels, rng))
    samples.append(samples[0].model_copy(update={"name": f"{samples[0].name} again"}))
    feeds.append(feeds[0])
    return SampleSet(task=task, pixels=pixels, specs=tuple(specs), samples=samples), feeds


def takes_pictures(spec: InputSpec) -> bool:
    if not spec.dtype.startswith("float") or len(spec.dims) != 4:
        return False
    _, channels, height, width = spec.dims
    return channels.opt in (1, 3) and not channels.dynamic and min(height.opt, width.opt) >= 16


def _feed(
    specs: Sequence[InputSpec],
    shapes: Sequence[tuple[int, ...]],
    picture: str,
    pixels: Pixels,
    rng: np.random.Generator,
) -> Feed:
    feed: Feed = OrderedDict()
    for spec, shape in zip(specs, shapes, strict=True):
        if picture and takes_pictures(spec):
            feed[spec.name] = _pictures(shape, picture, pixels).astype(spec.dtype)
        else:
            feed[spec.name] = _random(spec, shape, pixels, rng)
    return feed


def _pictures(shape: tuple[int, ...], first: str, pixels: Pixels) -> Array:
    """A batch of different pictures, float32 [N, C, H, W]."""
    import numpy as np

    batch, channels, height, width = shape
    names = pictures.names()
    start = names.index(first)
    images = [pictures.load(names[(start + i) % len(names)], height, width) for i in range(batch)]
    return as_input(np.stack(images).astype(np.float32) / 255, channels, pixels)


def as_input(array: Array, channels: int, pixels: Pixels) -> Array:
    """RGB pictures float32 [N, H, W, 3] in 0..1 as a model's input [N, C, H, W]."""
    import numpy as np

    if pixels == "imagenet":
        array = (array - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    elif pixels == "bytes":
        array = np.multiply(array, 255, dtype=np.float32)
    if channels == 1:
        array = array.mean(axis=3, keepdims=True)
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))


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


def _random(spec: InputSpec, shape: tuple[int, ...], pixels: Pixels, rng: np.random.Generator) -> Array:
    """Floats: a texture, uniform in 0..1, or standard normal where pictures are normalized. Integers: 0..9, which most
    vocabularies have.
    """
    import numpy as np

    dtype = spec.dtype
    if takes_pictures(spec):
        return _texture(shape, pixels, rng).astype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.startswith("float"):
        values = rng.standard_normal(shape) if pixels == "imagenet" else rng.random(shape)
        return np.asarray(values, dtype=dtype)
    return rng.integers(0, 10, shape).astype(dtype)
