"""The number formats of 16 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


@dataclass(frozen=True)
class Format:
    """`largest` is the largest finite number, `smallest` the smallest normal one: below it digits are lost."""

    precision: str
    """As the user asks for it: `fp16`."""
    dtype: ir.DataType
    largest: float
    smallest: float

    @property
    def name(self) -> str:
        """As NumPy and the manifest name it: `float16`."""
        return self.dtype.numpy().name

    def rounded(self, array: NDArray[np.float32]) -> NDArray[np.generic]:
        """The nearest numbers of this format; infinite where they are too large."""
        with np.errstate(over="ignore"):
            return array.astype(self.dtype.numpy())


FORMATS = {
    "fp16": Format("fp16", ir.DataType.FLOAT16, 65504.0, 2.0**-14),
    "bf16": Format("bf16", ir.DataType.BFLOAT16, (2 - 2.0**-7) * 2.0**127, 2.0**-126),
}
