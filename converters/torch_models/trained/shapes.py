"""The things that the detector finds: a form, and what it is covered with.

Some classes share the form and differ only in the cover, so that a detector that has lost fine detail confuses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[Any]  # of 32 bits, which NumPy's own annotations lose
Pictures = tuple[NDArray[np.uint8], ...]

CLASSES = (
    ("disc", "photo"),
    ("disc", "stripes"),
    ("triangle", "photo"),
    ("triangle", "checks"),
    ("star", ""),
    ("cross", ""),
    ("ring", ""),
)
"""(form, cover); label i + 1 is the i-th. No cover: any."""

SUPERSAMPLING = 3


def _regular(corners: int, inner: float = 1.0) -> Floats:
    """float32[corners, 2] on the unit circle, every second one at the radius `inner`."""
    angle = np.arange(corners) * (2 * math.pi / corners)
    radius = np.where(np.arange(corners) % 2, inner, 1.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)


def _cross(arm: float = 0.34) -> Floats:
    quarter = np.array([(arm, 1.0), (arm, arm), (1.0, arm)], np.float32)
    turns = [np.array([(0, -1), (1, 0)], np.float32)] * 4
    corners = [quarter]
    for turn in turns[1:]:
        corners.append(corners[-1] @ turn)
    return np.concatenate(corners)


FORMS = {
    "disc": _regular(40),
    "triangle": _regular(3),
    "star": _regular(10, 0.42),
    "cross": _cross(),
    "ring": _regular(40),
}
HOLE = {"ring": 0.55}
"""Radius of the hole."""


def mask(form: str, radius: float, size: int, center: tuple[float, float], rng: np.random.Generator) -> Floats:
    """How much of each pixel the form covers: float32[size, size] in 0..1. Turned, stretched and sheared at random."""
    angle = rng.uniform(0, 2 * math.pi)
    turn = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    stretch = np.array([(rng.uniform(0.85, 1.18), rng.uniform(-0.15, 0.15)), (0.0, 1.0)])
    placed = (FORMS[form] @ turn @ stretch * radius + np.array(center)) * SUPERSAMPLING
    canvas = Image.new("L", (size * SUPERSAMPLING,) * 2)
    draw = ImageDraw.Draw(canvas)
    draw.polygon([tuple(point) for point in placed.tolist()], fill=255)
    if form in HOLE:
        middle = np.array(center) * SUPERSAMPLING
        hole = (placed - middle) * HOLE[form] + middle
        draw.polygon([tuple(point) for point in hole.tolist()], fill=0)
    return np.asarray(canvas.reduce(SUPERSAMPLING), np.float32) / 255


def crop(
    picture: NDArray[np.uint8], size: int, rng: np.random.Generator, zoom: tuple[float, float]
) -> NDArray[np.uint8]:
    """A square of `size` pixels from a random place, uint8 [size, size, 3]; `zoom` bounds the shrinking, and what the
    picture allows bounds it too.
    """
    height, width = picture.shape[:2]
    side = int(np.clip(size * rng.uniform(*zoom), 8, min(height, width)))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def _photo(size: int, radius: float, pictures: Pictures, rng: np.random.Generator) -> Floats:
    picture = pictures[rng.integers(len(pictures))]
    texture = crop(picture, size, rng, (0.6, 2.0)).astype(np.float32) / 255
    texture = (texture - texture.mean()) * rng.uniform(0.8, 1.8) + rng.uniform(0.25, 0.75)
    tinted: Floats = texture * rng.uniform(0.35, 1.25, 3).astype(np.float32)
    return tinted


def _two_colours(rng: np.random.Generator) -> tuple[Floats, Floats]:
    dark = rng.uniform(0, 0.45, 3)
    return dark.astype(np.float32), (dark + rng.uniform(0.3, 0.55, 3)).astype(np.float32)


def _stripes(size: int, radius: float, pictures: Pictures, rng: np.random.Generator) -> Floats:
    return _waves(size, radius, rng, lambda across, along: np.sin(across))


def _checks(size: int, radius: float, pictures: Pictures, rng: np.random.Generator) -> Floats:
    return _waves(size, radius, rng, lambda across, along: np.sin(across) * np.sin(along))


def _waves(size: int, radius: float, rng: np.random.Generator, pattern: Callable[[Floats, Floats], Floats]) -> Floats:
    angle, length = rng.uniform(0, math.pi), max(radius * rng.uniform(0.35, 0.6), 5.0)
    y, x = np.mgrid[:size, :size].astype(np.float32) * np.float32(2 * math.pi / length)
    turned = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    share = np.clip(pattern(*turned) * 3 + 0.5, 0, 1)[..., None].astype(np.float32)
    dark, light = _two_colours(rng)
    return dark * (1 - share) + light * share


COVERS: dict[str, Callable[[int, float, Pictures, np.random.Generator], Floats]] = {
    "photo": _photo,
    "stripes": _stripes,
    "checks": _checks,
}


def cover(name: str, size: int, radius: float, pictures: Pictures, rng: np.random.Generator) -> Floats:
    """What the thing is covered with, float32[size, size, 3] about 0..1. The empty name: any."""
    if not name:
        name = list(COVERS)[rng.integers(len(COVERS))]
    return COVERS[name](size, radius, pictures, rng)
