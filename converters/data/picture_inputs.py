"""Inputs that pictures go to, and pictures in the form in which a model takes them."""

from __future__ import annotations

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array, Pixels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def takes_pictures(spec: InputSpec) -> bool:
    """Is it float [N, 3 or 1, H, W], of 16 pixels a side at least?"""
    if not spec.dtype.startswith("float") or len(spec.dims) != 4:
        return False
    _, channels, height, width = spec.dims
    return channels.opt in (1, 3) and not channels.dynamic and min(height.opt, width.opt) >= 16


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
