"""How a graph is quantized. Apart from the rest, so that a command line can read it without onnx."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Method = Literal["minmax", "entropy", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)


class Int8Options(BaseModel):
    """The defaults are what measured best on trained networks (benchmarks/precision.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "mse"
    """Calibration: how the range of an activation is cut. Of the answers of two classifiers, mean square kept 90 and 97 %
    (MobileNetV2, EfficientNet-Lite0), 99.99 percent 89 and 95, entropy 89 and 94, the whole range 84 and 96; on a
    detector they were alike."""
    keep: tuple[str, ...] = ()
    """Products that aren't quantized: patterns of node names, `first`, `last`."""
    weight_only: bool = False
    """Weights in 8 bits, dequantized before the product, which computes in what the rest does."""
    equalize: bool = False
    """Cross-layer equalization before depthwise convolutions. With it 92 % of MobileNetV2's answers were kept instead of
    90, and 95 % of EfficientNet-Lite0's instead of 96.5.
    """
    correct_bias: bool = True
    """Take the mean error of rounding out of the bias: up to 3 % more of the answers."""
