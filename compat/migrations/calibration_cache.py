"""Calibration caches of TensorRT: what its calibrators wrote, and trtexec and Polygraphy read.

A line names the release and the way (`TRT-8601-EntropyCalibration2`); of each tensor there is a line then, with its scale as the eight
hexadecimal digits of a float32: the magnitude that 127 stands for is 127 times as large.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

LARGEST_CODE = 127
HEADER = re.compile(r"TRT-(\d+)-(\w+)")
ENTRY = re.compile(r"(.+):\s*([0-9a-fA-F]{1,8})")
METHODS = {"EntropyCalibration": "entropy", "EntropyCalibration2": "entropy", "MinMaxCalibration": "minmax",
           "LegacyCalibration": "percentile"}  # fmt: skip
"""The way that a cache names, as a recipe's `method`."""


@dataclass(frozen=True)
class CalibrationCache:
    """`release` such as `8601` (8.6.1), empty where the cache says none; `algorithm` as it names it."""

    release: str
    algorithm: str
    scales: dict[str, float]
    """By the tensor's name, in the units of the tensor."""

    @property
    def version(self) -> str:
        """The release as it is called: 8.6.1 for `8601`, 10.3.0 for `100300`."""
        if not self.release:
            return ""
        number, thousand = int(self.release), 1000 if len(self.release) == 4 else 10000
        return f"{number // thousand}.{number % thousand // 100}.{number % 100}"

    @property
    def method(self) -> str:
        """As a recipe has it; empty for a way that it does not know."""
        return METHODS.get(self.algorithm, "")

    def thresholds(self) -> dict[str, float]:
        """The magnitude that int8's largest code stands for, by the tensor's name."""
        return {name: scale * LARGEST_CODE for name, scale in self.scales.items()}


def parse(data: bytes) -> CalibrationCache:
    """Read a cache's content. Raises ValueError that says what is wrong, with the line."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("it is no text: TensorRT's calibrators write lines of `name: 3c010a14`") from None
    lines = [line.strip() for line in text.splitlines()]
    release = algorithm = ""
    scales: dict[str, float] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        header = HEADER.fullmatch(line)
        if header is not None and not scales:
            release, algorithm = header.groups()
            continue
        entry = ENTRY.fullmatch(line)
        if entry is None:
            raise ValueError(f"line {number} is neither a header (TRT-8601-EntropyCalibration2) nor `name: 3c010a14`")
        (scale,) = struct.unpack(">f", bytes.fromhex(entry[2].zfill(8)))
        if not math.isfinite(scale) or scale < 0:
            raise ValueError(f"line {number}: {entry[2]} is the scale {scale}, which no tensor has")
        scales[entry[1]] = scale
    if not scales:
        raise ValueError("it has no line of a tensor (`name: 3c010a14`)")
    return CalibrationCache(release, algorithm, scales)
