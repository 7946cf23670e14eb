"""Generated pictures to detect things in: real textures, clutter, occlusion, several scales, any turn, changing light.

Training and held-out scenes differ in their seeds, and in the pictures' regions that backgrounds and covers come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import photos
import shapes
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIZE = 192
"""Pixels, of both sides."""
RADIUS = (13.0, 46.0)
"""Pixels; drawn uniformly in the logarithm."""
MOST = 7
"""Things in one scene."""
HIDDEN = 0.3
"""The largest part of a thing that others may hide."""
SHADOW = 4
"""Pixels, the longest."""

Split = Literal["train", "held-out"]
Floats = NDArray[np.float32]


class Scene(NamedTuple):
    image: NDArray[np.uint8]
    """[SIZE, SIZE, 3], RGB."""
    boxes: Floats
    """[N, 4]: x1, y1, x2, y2 in pixels, of the whole thing within the picture, hidden parts included."""
    labels: NDArray[np.int64]
    """[N], from 1."""


def scenes(split: Split, count: int, seed: int) -> Iterator[Scene]:
    """The first `count` scenes of a seed; the two splits never share one."""
    for index in range(count):
        yield draw(split, np.random.default_rng((seed, index, split == "train")))


@cache
def regions(split: Split) -> shapes.Pictures:
    """The left three fifths of each picture are for training, the rest is held out."""
    found = []
    for name in photos.NAMES:
        picture = photos.load(name)
        border = picture.shape[1] * 3 // 5
        found.append(picture[:, :border] if split == "train" else picture[:, border:])
    return tuple(found)


def draw(split: Split, rng: np.random.Generator) -> Scene:
    pictures = regions(split)
    canvas = photos.crop(pictures[rng.integers(len(pictures))], SIZE, rng, (0.7, 2.5)).astype(np.float32) / 255
    shadow = (int(rng.integers(-SHADOW, SHADOW + 1)), int(rng.integers(2, SHADOW + 1)))
    for _ in range(rng.integers(0, 4)):
        canvas = _place(canvas, _clutter(rng), _any_cover(pictures, rng), shadow)

    masks: list[Floats] = []
    seen: list[Floats] = []
    boxes, labels = [], []
    wanted = rng.integers(1, MOST + 1)
    for _ in range(4 * MOST):
        if len(labels) == wanted:
            break
        label = int(rng.integers(len(shapes.CLASSES)))
        form, covered = shapes.CLASSES[label]
        radius = math.exp(rng.uniform(math.log(RADIUS[0]), math.log(RADIUS[1])))
        x, y = rng.uniform(0.6 * radius, SIZE - 0.6 * radius, 2)
        mask = shapes.mask(form, radius, SIZE, (x, y), rng)
        left = [old * (1 - mask) for old in seen]
        if any(now.sum() < (1 - HIDDEN) * whole.sum() for now, whole in zip(left, masks, strict=True)):
            continue
        canvas = _place(canvas, mask, _shade(shapes.cover(covered, SIZE, radius, pictures, rng), rng), shadow)
        masks.append(mask)
        seen = [*left, mask]
        boxes.append(_bounds(mask))
        labels.append(label + 1)
    if rng.random() < 0.5:
        canvas = _place(canvas, _bar(rng), _any_cover(pictures, rng), shadow)
    return Scene(_light(canvas, rng), np.array(boxes, np.float32), np.array(labels, np.int64))


def _bounds(mask: Floats) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.max(axis=1) > 0.5), np.flatnonzero(mask.max(axis=0) > 0.5)
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _place(canvas: Floats, mask: Floats, cover: Floats, shadow: tuple[int, int]) -> Floats:
    """Paint what the mask shows, over the shadow that it casts so many pixels to the right and down."""
    padded = np.pad(mask, SHADOW)
    right, down = (SHADOW - shift for shift in shadow)
    shaded = canvas * (1 - 0.6 * padded[down : down + SIZE, right : right + SIZE, None])
    return shaded * (1 - mask[..., None]) + cover * mask[..., None]


def _any_cover(pictures: shapes.Pictures, rng: np.random.Generator) -> Floats:
    return shapes.cover("", SIZE, rng.uniform(*RADIUS), pictures, rng)


def _shade(cover: Floats, rng: np.random.Generator) -> Floats:
    """Light falls off along a random direction."""
    return cover * (1 + rng.uniform(0, 0.35) * _slope(rng))[..., None]


def _slope(rng: np.random.Generator) -> Floats:
    """A plane through 0 at the middle, float32[SIZE, SIZE] within about -1..1."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) * np.float32(2 / SIZE) - 1
    return x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))


def _clutter(rng: np.random.Generator) -> Floats:
    """A crooked rectangle, which is no class."""
    center, turn = rng.uniform(0, SIZE, 2), rng.uniform(0, 2 * math.pi)
    half = math.atan(rng.uniform(0.4, 1.0))
    angles = turn + np.array([half, math.pi - half, math.pi + half, -half]) + rng.uniform(-0.15, 0.15, 4)
    radius = rng.uniform(10, 60) * rng.uniform(0.85, 1, 4)
    corners = center + np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)
    return _filled([tuple(corner) for corner in corners.tolist()])


def _bar(rng: np.random.Generator) -> Floats:
    """A thin bar across the whole picture, in front of everything."""
    (x1, x2), width = rng.uniform(0, SIZE, 2), rng.uniform(2, 6)
    corners = [(x1, -1.0), (x1 + width, -1.0), (x2 + width, SIZE + 1.0), (x2, SIZE + 1.0)]
    return _filled(corners) if rng.random() < 0.5 else np.ascontiguousarray(_filled(corners).T)


def _filled(corners: list[tuple[float, ...]]) -> Floats:
    canvas = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(canvas).polygon(corners, fill=255)
    return np.asarray(canvas, np.float32) / 255


def _light(canvas: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, a slope of light, the tint of the light, blur and noise."""
    canvas = canvas * (rng.uniform(0.6, 1.3) * (1 + rng.uniform(0, 0.3) * _slope(rng)))[..., None]
    canvas = np.clip(canvas * rng.uniform(0.85, 1.15, 3).astype(np.float32), 0, 1) ** rng.uniform(0.8, 1.25)
    image = Image.fromarray((canvas * 255).astype(np.uint8))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    noisy = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(0, 6), (SIZE, SIZE, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)
