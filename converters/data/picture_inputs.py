"""Inputs that pictures go to, and pictures in the form in which a model takes them."""

from __future__ import annotations

from typing import NamedTuple

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array, Pixels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SMALLEST = 16
"""Pixels of a side."""
LAST_SMALLEST, LAST_ASPECT = 32, 4
"""The same of floats with the channels last, and the longer side by the shorter one: others are points, or paths of them."""


class Frame(NamedTuple):
    """What the axes of a picture input are."""

    batch: int
    channels: int
    height: int
    width: int
    last: bool
    """The channels are the last axis, not the second one."""


def frame(spec: InputSpec, shape: tuple[int, ...] | None = None) -> Frame | None:
    """Of an input at its optimum, or at another shape; None where it takes no pictures: they are float or uint8 [N, 3 or 1, H, W]
    or [N, H, W, 3] (of bytes 1 too), and no small ones.
    """
    if len(spec.dims) != 4 or not (spec.dtype.startswith("float") or spec.dtype == "uint8"):
        return None
    first, last = spec.dims[1], spec.dims[3]
    sides = [dim.opt for dim in spec.dims]
    batch, *rest = shape or spec.opt
    if first.opt in (1, 3) and not first.dynamic and min(sides[2:]) >= SMALLEST:
        return Frame(batch, rest[0], rest[1], rest[2], last=False)
    channels, least, aspect = ((1, 3), SMALLEST, None) if spec.dtype == "uint8" else ((3,), LAST_SMALLEST, LAST_ASPECT)
    height, width = sides[1:3]
    if last.opt not in channels or last.dynamic or min(height, width) < least:
        return None
    if aspect and max(height, width) > aspect * min(height, width):
        return None
    return Frame(batch, rest[2], rest[0], rest[1], last=True)


def takes_pictures(spec: InputSpec) -> bool:
    """Do pictures go to it?"""
    return frame(spec) is not None


def pixels_of(spec: InputSpec, pixels: Pixels) -> Pixels:
    """What this input takes pictures as: integers are bytes."""
    return "bytes" if spec.dtype == "uint8" else pixels


def as_input(array: Array, spec: InputSpec, pixels: Pixels) -> Array:
    """RGB pictures float32 [N, H, W, 3] in 0..1 as the input's dtype and layout, of the sizes that they have."""
    import numpy as np

    axes = frame(spec)
    if axes is None:
        raise ValueError(f"{spec.name} takes no pictures")
    pixels = pixels_of(spec, pixels)
    if pixels == "imagenet":
        array = (array - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    elif pixels == "bytes":
        array = np.multiply(array, 255, dtype=np.float32)
    if axes.channels == 1:
        array = array.mean(axis=3, keepdims=True)
    if spec.dtype == "uint8":
        array = np.rint(array)
    made = array if axes.last else array.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(made, spec.dtype)
