"""How a graph is quantized. Apart from the rest, so that a command line can read it without onnx."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Method = Literal["minmax", "entropy", "percentile", "mse"]


class Int8Options(BaseModel):
    """The defaults are what measured best on trained networks (benchmarks/precision.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "mse"
    """Calibration: how the range of an activation is cut."""
    keep: tuple[str, ...] = ()
    """Products that aren't quantized: patterns of node names, `first`, `last`."""
    weight_only: bool = False
    """Weights in 8 bits, dequantized before the product, which computes in what the rest does."""
    equalize: bool = False
    """Cross-layer equalization."""
    correct_bias: bool = True
    """Bias correction."""
