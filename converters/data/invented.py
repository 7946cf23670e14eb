"""One input made up: of pictures, or at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array, Pixels
from enginesmith.converters.data import pictures
from enginesmith.converters.data.picture_inputs import as_input, frame, pixels_of
from enginesmith.converters.data.probes import is_mask, mask

if TYPE_CHECKING:
    import numpy as np

MIDDLE, SPREAD = 0.45, 0.27
"""Mean and deviation of pictures in 0..1."""


def pictured(
    spec: InputSpec, shape: tuple[int, ...], first: str, pixels: Pixels, observed: Array | None = None
) -> Array:
    """A batch of different pictures, from that name on, like what was observed."""
    import numpy as np

    axes = frame(spec, shape)
    if axes is None:
        raise ValueError(f"{spec.name} takes no pictures")
    names = pictures.names()
    start = names.index(first)
    images = [pictures.load(names[(start + i) % len(names)], axes.height, axes.width) for i in range(axes.batch)]
    return like_pictures(np.stack(images).astype(np.float32) / 255, spec, pixels, observed)


def like_pictures(images: Array, spec: InputSpec, pixels: Pixels, observed: Array | None) -> Array:
    """Pictures float32 [N, H, W, 3] in 0..1 as an input. Where nobody says what the model takes them as, they get the mean, the
    deviation and the limits of what was observed.
    """
    import numpy as np

    made = as_input(images, spec, pixels)
    if observed is None or pixels_of(spec, pixels) != "unknown" or not np.isfinite(observed).all():
        return made
    low, high = float(observed.min()), float(observed.max())
    if low == high or (low >= 0 and high <= 1):
        return made
    exact = observed.astype(np.float64)
    scaled = exact.mean() + (made.astype(np.float64) - MIDDLE) / SPREAD * exact.std()
    return np.asarray(np.clip(scaled, low, high), spec.dtype)


def invented(
    spec: InputSpec, shape: tuple[int, ...], pixels: Pixels, rng: np.random.Generator, integers: tuple[int, int]
) -> Array:
    """Floats: a texture, uniform in 0..1, or standard normal where pictures are normalized. Integers: as given, 0 and 1 in a
    mask.
    """
    import numpy as np

    dtype = spec.dtype
    if frame(spec):
        return _texture(spec, shape, pixels, rng)
    if dtype == "bool":
        return mask(shape, rng)
    if dtype.startswith("float"):
        values = rng.standard_normal(shape) if pixels == "imagenet" else rng.random(shape)
        return np.asarray(values, dtype=dtype)
    if is_mask(spec):
        return mask(shape, rng).astype(dtype)
    return rng.integers(*integers, shape).astype(dtype)


def _texture(spec: InputSpec, shape: tuple[int, ...], pixels: Pixels, rng: np.random.Generator) -> Array:
    """Random patches at several scales. In white noise every place is like every other, so that a detector's scores
    are all ties, and no network has seen it: rounding would decide what comes out.
    """
    import numpy as np

    axes = frame(spec, shape)
    assert axes is not None
    total = np.zeros((axes.batch, axes.height, axes.width, 3), np.float32)
    for size in (2, 8, 32):
        coarse = rng.random((axes.batch, -(-axes.height // size), -(-axes.width // size), 3), np.float32)
        total += coarse.repeat(size, axis=1).repeat(size, axis=2)[:, : axes.height, : axes.width]
    return as_input(total / 3, spec, pixels)
