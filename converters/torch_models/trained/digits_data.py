"""Handwritten digits of 8x8 pixels (UCI, E. Alpaydin, C. Kaynak): `digits.npz`, as scikit-learn has them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("digits.npz")
HELD_OUT = 500


def calibration() -> Iterator[NDArray[np.float32]]:
    """Training digits, float32[1, 1, 8, 8] in 0..1."""
    images, _ = split("train")
    yield from images[:, None, None]


def evaluation() -> Iterator[tuple[NDArray[np.float32], int]]:
    """Held-out digits as the input, and which digit it is."""
    images, labels = split("held-out")
    yield from zip(images[:, None, None], labels.tolist(), strict=True)


def split(name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images float32[N, 8, 8] in 0..1 and labels int64[N]. They are listed by writer: the last are other hands."""
    data = _read()
    chosen = slice(None, -HELD_OUT) if name == "train" else slice(-HELD_OUT, None)
    return (data["images"][chosen] / 16).astype(np.float32), data["labels"][chosen].astype(np.int64)


@cache
def _read() -> dict[str, NDArray[Any]]:
    """`images` uint8[1797, 8, 8] in 0..16, `labels` uint8[1797]."""
    with np.load(FILE) as data:
        return dict(data)
