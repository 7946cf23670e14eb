"""How a graph is quantized. Apart from the rest, so that a command line can read it without onnx."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Method = Literal["minmax", "entropy", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)


class Int8Options(BaseModel):
    """The defaults are what measured best on trained networks (benchmarks/precision.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "percentile"
    """Calibration: how the range of an activation is cut. All four measured alike on a detector; on MobileNetV2 99.99
    percent kept 91 % of the answers, entropy 90 %, mean square 87 %, the whole range 82 %."""
    keep: tuple[str, ...] = ()
    """Products that aren't quantized: patterns of node names, `first`, `last`."""
    weight_only: bool = False
    """Weights in 8 bits, dequantized before the product, which computes in what the rest does."""
    equalize: bool = False
    """Cross-layer equalization before depthwise convolutions. It gained on MobileNetV2 (1.1 dB at the outputs) and lost on
    EfficientNet-Lite0 (1.3 dB), so that it is worth a try, no more."""
    correct_bias: bool = True
    """Take the mean error of rounded weights out of the bias: 0.5 dB gained on MobileNetV2, 2 dB on EfficientNet-Lite0."""
