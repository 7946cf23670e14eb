"""Without data of the user's: the shipped pictures, cropped and lit differently each time; made-up data for other inputs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array, Feed, SampleSet
from enginesmith.converters.data import pictures
from enginesmith.converters.data.datasets.base import Item, Role, Source
from enginesmith.converters.data.derived import derived
from enginesmith.converters.data.invented import invented, like_pictures
from enginesmith.converters.data.maker import WAYS
from enginesmith.converters.data.picture_inputs import frame, takes_pictures

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

PICTURES: dict[Role, tuple[str, ...]] = {
    "calibration": ("coffee", "rocket", "hubble", "brick"),
    "evaluation": ("astronaut", "cat", "camera", "horse"),
}
"""No picture is in both: what fits the pictures that it was calibrated on need not fit others."""


class Shipped(Source):
    """`limit` rows, the same ones for the same seed and role."""

    weak = True

    def __init__(self, samples: SampleSet, role: Role, limit: int, seed: int, pattern: Feed | None = None) -> None:
        """`pattern` is an input of the user's, which others are made like."""
        self.samples = samples
        self.role = role
        self.count = limit
        self.seed = seed
        self.pattern = pattern or OrderedDict()
        self.name, self.made_up = "shipped pictures, augmented", not any(map(takes_pictures, samples.specs))
        if self.made_up:
            self.name = "data derived from the example" if pattern else "random data"

    def __iter__(self) -> Iterator[Item]:
        batch = max((spec.opt[0] for spec in self.samples.specs if takes_pictures(spec)), default=1)
        for number in range(-(-self.count // batch)):
            yield Item(f"{self.name}, {number}", self._feed(number), None)

    def _feed(self, number: int) -> Feed:
        import numpy as np

        key = [self.seed, list(PICTURES).index(self.role), number]
        rng = np.random.default_rng(key)
        feed: Feed = OrderedDict()
        for spec in self.samples.specs:
            feed[spec.name] = self._pictures(spec, number, rng) if takes_pictures(spec) else self._other(spec, rng)
        return feed

    def _other(self, spec: InputSpec, rng: np.random.Generator) -> Array:
        if spec.name in self.pattern:
            return derived(self.pattern[spec.name], spec.opt, rng, spec.name)
        return invented(spec, spec.opt, self.samples.pixels, rng, WAYS[0].integers)

    def _pictures(self, spec: InputSpec, number: int, rng: np.random.Generator) -> Array:
        import numpy as np

        axes = frame(spec)
        assert axes is not None
        batch, height, width = axes.batch, axes.height, axes.width
        names = PICTURES[self.role]
        crops = [augmented(names[(number * batch + row) % len(names)], height, width, rng) for row in range(batch)]
        return like_pictures(np.stack(crops), spec, self.samples.pixels, self.pattern.get(spec.name))


def augmented(name: str, height: int, width: int, rng: np.random.Generator) -> Array:
    """A crop of a shipped picture as float32 [height, width, 3] in 0..1: a quarter of its area to all of it, an aspect
    of 3:4 to 4:3 (torchvision's RandomResizedCrop), mirrored every other time, with other light, contrast and colour.
    """
    import numpy as np
    from PIL import ImageEnhance, ImageOps
    from PIL.Image import Resampling

    picture = _picture(name)
    aspect = width / height * float(np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))))
    scale = float(np.sqrt(rng.uniform(0.25, 1)))
    largest = min(picture.width, picture.height * aspect)
    across, down = largest * scale, largest / aspect * scale
    left, top = rng.uniform(0, picture.width - across), rng.uniform(0, picture.height - down)
    box = (left, top, left + across, top + down)
    picture = picture.resize((width, height), Resampling.BICUBIC, box=box, reducing_gap=3.0)
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(float(rng.uniform(0.6, 1.4)))
    return np.asarray(picture, np.float32) / 255


@cache
def _picture(name: str) -> Image:
    from PIL import Image

    with Image.open(pictures.path(name)) as opened:
        return opened.convert("RGB")
