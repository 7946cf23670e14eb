"""How a graph is quantized. Apart from the rest, so that a command line can read it without onnx."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict

from enginesmith.converters.core.recipe import AUTO, Method, Recipe

METHODS: tuple[Method, ...] = get_args(Method)


def _default(field: str) -> Any:
    return Recipe.model_fields[field].default


def kept_patterns(recipe: Recipe) -> tuple[str, ...]:
    """What `--keep` names, one by one."""
    return tuple(filter(None, recipe.keep.replace(" ", "").split(",")))


class Int8Options(BaseModel):
    """The defaults are the recipe's, what measured best on trained networks (benchmarks/precision.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = _default("method")
    """Calibration: how the range of an activation is cut. Of the answers of two classifiers, mean square kept 90 and 97 %
    (MobileNetV2, EfficientNet-Lite0), 99.99 percent 89 and 95, entropy 89 and 94, the whole range 84 and 96; on a
    detector they were alike."""
    keep: tuple[str, ...] = ()
    """Products that aren't quantized: as `precision.keep` reads them."""
    weight_only: bool = _default("weight_only")
    """Weights in 8 bits, dequantized before the product, which computes in what the rest does."""
    equalize: bool = _default("equalize")
    """Cross-layer equalization before depthwise convolutions. With it 92 % of MobileNetV2's answers were kept instead of
    90, and 95 % of EfficientNet-Lite0's instead of 96.5.
    """
    correct_bias: bool = _default("correct_bias")
    """Take the mean error of rounding out of the bias: up to 3 % more of the answers."""

    @classmethod
    def asked(cls, recipe: Recipe) -> Int8Options:
        """What a recipe asks for; the defaults where it asks for no int8."""
        if recipe.precision not in ("int8", AUTO):
            return cls()
        return cls(
            method=recipe.method,
            keep=kept_patterns(recipe),
            weight_only=recipe.weight_only,
            equalize=recipe.equalize,
            correct_bias=recipe.correct_bias,
        )
