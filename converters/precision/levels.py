"""The precision of each product of a graph, as a search handles it, and in a few words."""

from __future__ import annotations

from collections.abc import Mapping

from enginesmith.converters.core.recipe import Rest
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.mix import Mix

Levels = dict[str, str]
"""Product to `int8`, to what computes in no integers (`fp16`), or to `fp32`."""


def mix_of(levels: Mapping[str, str], rest: Rest) -> Mix:
    """`rest` but for what is in something else."""
    return Mix(
        rest=rest,
        int8=tuple(name for name, level in levels.items() if level == "int8"),
        wide=tuple(name for name, level in levels.items() if level == "fp32" != rest),
    )


def counted(levels: Mapping[str, str]) -> str:
    """`50 int8, 4 fp16`: how many products compute in what."""
    found = list(levels.values())
    return ", ".join(f"{found.count(level)} {level}" for level in ("int8", "fp16", "bf16", "fp32") if level in found)


def described(options: Int8Options) -> str:
    """`entropy, equalized, bias corrected`."""
    words = ["equalized"] * options.equalize + ["bias corrected"] * options.correct_bias
    return ", ".join([options.method, *words])
