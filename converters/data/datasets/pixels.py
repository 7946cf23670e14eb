"""Are these numbers what the model takes pictures as? Bytes given to a model of 0..1 quantize without an error, and wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import Pixels
from enginesmith.converters.data.picture_inputs import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from enginesmith.converters.core.samples import Array

SLACK = 0.5
"""How far resampling and augmentation may overshoot 0..1."""
BYTES = 32
"""Normalized pictures stay below 3, so that what exceeds this is 0..255."""

WANTED: dict[Pixels, str] = {
    "unit": "0..1",
    "imagenet": "0..1, less ImageNet's mean and by its deviation",
    "bytes": "0..255",
}
NORMALIZE = f"subtract {IMAGENET_MEAN} and divide by {IMAGENET_STD}"
AS_BYTES = ", or give --pixels bytes if the model takes them so"


def check_range(array: Array, pixels: Pixels, where: str) -> None:
    """Hold one picture, in the dtype that it came in, against what the model takes. Raises UserError."""
    if pixels == "unknown" or not array.size:
        return
    low, high = float(array.min()), float(array.max())
    seen = f"{where}: holds {low:.4g} to {high:.4g} where the model takes {WANTED[pixels]}"
    looks_bytes = low >= 0 and (high > BYTES or (array.dtype.kind in "iu" and high > 1))
    if pixels == "unit":
        if looks_bytes:
            raise UserError(f"{seen}; divide by 255{AS_BYTES}")
        if low < -SLACK or high > 1 + SLACK:
            raise UserError(f"{seen}; leave the normalization out, or give --pixels imagenet if the model lacks it")
    elif pixels == "imagenet" and looks_bytes:
        raise UserError(f"{seen}; divide by 255, then {NORMALIZE}{AS_BYTES}")
    elif pixels == "bytes" and low < -SLACK:
        raise UserError(f"{seen}; leave the normalization out, the model does it")


@dataclass
class Range:
    """The numbers of all pictures: what a single one can't tell, since a dark one lies in 0..1 as bytes too."""

    low: float = float("inf")
    high: float = float("-inf")

    def add(self, array: Array) -> None:
        if array.size:
            self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))

    def judge(self, pixels: Pixels, name: str) -> str:
        """A warning, empty where nothing is wrong. Raises UserError for 0..1 where 0..255 is expected."""
        if self.low > self.high:
            return ""
        seen = f"{name}: the pictures hold {self.low:.4g} to {self.high:.4g}"
        unit = self.low >= 0 and self.high <= 1
        if pixels == "bytes" and unit:
            raise UserError(f"{seen} where the model takes 0..255; multiply by 255")
        if pixels == "imagenet" and unit:
            return f"{seen}; normalize them if the model was trained so, else give --pixels unit"
        if pixels == "unknown" and self.high > BYTES:
            return f"{seen}; divide by 255 if the model takes 0..1, as its samples are, else give --pixels bytes"
        return ""
