"""One graph's worth of a model, and the choice among several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import Pixels
from enginesmith.converters.torch_models.example import Example

if TYPE_CHECKING:
    from torch import nn

MODEL = "model"
"""The part that is the whole model: the one that is meant where none is named."""


@dataclass
class Part:
    """A module that exports as one graph, and a call of it."""

    module: nn.Module
    example: Example
    task: str = "tensor"
    pixels: Pixels = "unknown"


Parts = Mapping[str, Callable[[], Part]]
"""By name. Made when asked for: an example of one part may be another's output."""


def choose(parts: Parts, name: str, where: str) -> Part:
    """The named part; the whole model, or the only part, where none is named. Raises UserError that lists them."""
    if not name and (MODEL in parts or len(parts) == 1):
        name = MODEL if MODEL in parts else next(iter(parts))
    if name not in parts:
        wrong = f"has no part {name!r}; it has" if name else "runs as several graphs; choose"
        raise UserError(f"{where} {wrong} {', '.join(f'#{known}' for known in parts)}")
    return parts[name]()
