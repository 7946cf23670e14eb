"""Generated pictures to detect things in: real textures, clutter, occlusion, several scales, any turn, changing light.

Textures and backgrounds are of the pictures that ship with the package. Training and held-out scenes differ in their
seeds, and in the pictures' regions that backgrounds and covers come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from enginesmith.converters.data import pictures
from enginesmith.converters.torch_models.trained import shapes

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

TRAINING_SEED, EVALUATION_SEED = 0, 1
CALIBRATION_SCENES = 512
EVALUATION_SCENES = 200

Split = Literal["train", "held-out"]


class Scene(NamedTuple):
    image: NDArray[np.uint8]
    """[SIZE, SIZE, 3], RGB."""
    boxes: shapes.Floats
    """[N, 4]: x1, y1, x2, y2 in pixels, of the whole thing within the picture, hidden parts included."""
    labels: NDArray[np.int64]
    """[N], from 1."""


def calibration() -> Iterator[shapes.Floats]:
    """Training scenes, float32[1, 3, SIZE, SIZE] in 0..1."""
    for index in range(CALIBRATION_SCENES):
        yield as_input(_drawn("train", TRAINING_SEED, index).image)


def evaluation() -> Iterator[tuple[shapes.Floats, dict[str, NDArray[Any]]]]:
    """Held-out scenes as the input, and their boxes float32[N, 4] (x1, y1, x2, y2 in pixels) and labels int64[N]."""
    for index in range(EVALUATION_SCENES):
        scene = _drawn("held-out", EVALUATION_SEED, index)
        yield as_input(scene.image), {"boxes": scene.boxes, "labels": scene.labels}


def as_input(image: NDArray[np.uint8]) -> shapes.Floats:
    """A scene's picture as the detector takes it."""
    return image.transpose(2, 0, 1)[None].astype(np.float32) / 255


def scenes(split: Split, count: int, seed: int) -> Iterator[Scene]:
    """The first `count` scenes of a seed; the two splits never share one."""
    for index in range(count):
        yield _draw_one(split, seed, index)


def _draw_one(split: Split, seed: int, index: int) -> Scene:
    return draw(split, np.random.default_rng((seed, index, split == "train")))


_drawn = cache(_draw_one)
"""Kept, because calibration and a search read them again and again: 110 KB each."""


@cache
def regions(split: Split) -> shapes.Pictures:
    """The left three fifths of each picture are for training, the rest is held out."""
    found = []
    for name in pictures.names():
        with Image.open(pictures.path(name)) as opened:
            picture = np.asarray(opened.convert("RGB"))
        border = picture.shape[1] * 3 // 5
        found.append(picture[:, :border] if split == "train" else picture[:, border:])
    return tuple(found)


def draw(split: Split, rng: np.random.Generator) -> Scene:
    textures = regions(split)
    canvas = shapes.crop(textures[rng.integers(len(textures))], SIZE, rng, (0.7, 2.5)).astype(np.float32) / 255
    shadow = (int(rng.integers(-SHADOW, SHADOW + 1)), int(rng.integers(2, SHADOW + 1)))
    for _ in range(rng.integers(0, 4)):
        canvas = _place(canvas, _clutter(rng), _any_cover(textures, rng), shadow)

    masks: list[shapes.Floats] = []
    seen: list[shapes.Floats] = []
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
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
        canvas = _place(canvas, mask, _shade(shapes.cover(covered, SIZE, radius, textures, rng), rng), shadow)
        masks.append(mask)
        seen = [*left, mask]
        boxes.append(_bounds(mask))
        labels.append(label + 1)
    if rng.random() < 0.5:
        canvas = _place(canvas, _bar(rng), _any_cover(textures, rng), shadow)
    return Scene(_light(canvas, rng), np.array(boxes, np.float32), np.array(labels, np.int64))


def _bounds(mask: shapes.Floats) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.max(axis=1) > 0.5), np.flatnonzero(mask.max(axis=0) > 0.5)
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _place(canvas: shapes.Floats, mask: shapes.Floats, cover: shapes.Floats, shadow: tuple[int, int]) -> shapes.Floats:
    """Paint what the mask shows, over the shadow that it casts so many pixels to the right and down."""
    padded = np.pad(mask, SHADOW)
    right, down = (SHADOW - shift for shift in shadow)
    shaded = canvas * (1 - 0.6 * padded[down : down + SIZE, right : right + SIZE, None])
    painted: shapes.Floats = shaded * (1 - mask[..., None]) + cover * mask[..., None]
    return painted


def _any_cover(textures: shapes.Pictures, rng: np.random.Generator) -> shapes.Floats:
    return shapes.cover("", SIZE, rng.uniform(*RADIUS), textures, rng)


def _shade(cover: shapes.Floats, rng: np.random.Generator) -> shapes.Floats:
    """Light falls off along a random direction."""
    shaded: shapes.Floats = cover * (1 + rng.uniform(0, 0.35) * _slope(rng))[..., None]
    return shaded


def _slope(rng: np.random.Generator) -> shapes.Floats:
    """A plane through 0 at the middle, float32[SIZE, SIZE] within about -1..1."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) * np.float32(2 / SIZE) - 1
    plane: shapes.Floats = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
    return plane


def _clutter(rng: np.random.Generator) -> shapes.Floats:
    """A crooked rectangle, which is no class."""
    center, turn = rng.uniform(0, SIZE, 2), rng.uniform(0, 2 * math.pi)
    half = math.atan(rng.uniform(0.4, 1.0))
    angles = turn + np.array([half, math.pi - half, math.pi + half, -half]) + rng.uniform(-0.15, 0.15, 4)
    radius = rng.uniform(10, 60) * rng.uniform(0.85, 1, 4)
    corners = center + np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)
    return _filled([tuple(corner) for corner in corners.tolist()])


def _bar(rng: np.random.Generator) -> shapes.Floats:
    """A thin bar across the whole picture, in front of everything."""
    (x1, x2), width = rng.uniform(0, SIZE, 2), rng.uniform(2, 6)
    corners = [(x1, -1.0), (x1 + width, -1.0), (x2 + width, SIZE + 1.0), (x2, SIZE + 1.0)]
    return _filled(corners) if rng.random() < 0.5 else np.ascontiguousarray(_filled(corners).T)


def _filled(corners: Sequence[tuple[float, ...]]) -> shapes.Floats:
    canvas = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(canvas).polygon(corners, fill=255)
    return np.asarray(canvas, np.float32) / 255


def _light(canvas: shapes.Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, a slope of light, the tint of the light, blur and noise."""
    canvas = canvas * (rng.uniform(0.6, 1.3) * (1 + rng.uniform(0, 0.3) * _slope(rng)))[..., None]
    canvas = np.clip(canvas * rng.uniform(0.85, 1.15, 3).astype(np.float32), 0, 1) ** rng.uniform(0.8, 1.25)
    image = Image.fromarray((canvas * 255).astype(np.uint8))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    noisy = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(0, 6), (SIZE, SIZE, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)
