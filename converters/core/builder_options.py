"""What TensorRT's builder is told beside the graph and its shapes: as trtexec's users know it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enginesmith.converters.core.options import Options
from enginesmith.converters.core.recipe import HardwareCompatible, Recipe


class BuilderOptions(Options):
    """By the names of the recipe's fields, with their defaults: the product's own choice."""

    workspace: float | None = None
    """Bytes."""
    optimization_level: int | None = None
    version_compatible: bool = False
    hardware_compatible: HardwareCompatible | None = None
    refittable: bool = False
    strip_plan: bool = False
    weight_streaming: bool = False
    timing_cache: Path | None = None
    aux_streams: int | None = None
    tf32: bool = True

    @classmethod
    def asked(cls, recipe: Recipe) -> BuilderOptions:
        return cls(**{name: getattr(recipe, name) for name in cls.model_fields})

    @classmethod
    def recorded(cls, recipe: Mapping[str, Any]) -> BuilderOptions:
        """Of a manifest's recipe, which has no defaults."""
        return cls(**{name: recipe[name] for name in cls.model_fields if name in recipe})

    @property
    def given(self) -> dict[str, Any]:
        """Those that are not the product's own choice."""
        return self.model_dump(exclude_defaults=True)

    @property
    def told(self) -> str:
        """As flags, for the record."""
        return " ".join(
            f"{'--no-tf32' if name == 'tf32' else flag(name)}{_value(value)}" for name, value in self.given.items()
        )


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _value(value: Any) -> str:
    return "" if isinstance(value, bool) else f"={value:.0f}" if isinstance(value, float) else f"={value}"
