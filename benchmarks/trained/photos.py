"""Natural pictures that the packages scikit-image and scikit-learn ship in their wheels:

The eight pictures that Enginesmith ships are among them, so a data set made here is not the data set made of those.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SKIMAGE = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
SKLEARN = ("china.jpg", "flower.jpg")
NAMES = SKIMAGE + SKLEARN


@cache
def load(name: str) -> NDArray[np.uint8]:
    """The picture as uint8 [H, W, 3], RGB. Raises ModuleNotFoundError if its package isn't installed."""
    package, folder = ("sklearn", "datasets/images") if name in SKLEARN else ("skimage", "data")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("pip install scikit-image scikit-learn: the pictures are in their wheels")
    return np.asarray(Image.open(Path(spec.origin).parent / folder / name).convert("RGB"))
