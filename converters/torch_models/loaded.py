"""A model that was loaded, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enginesmith.converters.core.records import Weights
from enginesmith.converters.core.samples import Pixels
from enginesmith.converters.torch_models.example import Example

if TYPE_CHECKING:
    from torch import nn


@dataclass
class LoadedModel:
    """A module in eval mode, and what is known of it."""

    module: nn.Module
    weights: Weights
    example: Example = field(default_factory=Example)
    """How its factory or its library calls it, where that is known."""
    warnings: tuple[str, ...] = ()
    unreachable: str = ""
    """The host that its weights could not be had from."""
    library: str = ""
    """`torchvision` or `timm`, whose models take pictures of a size that they say."""
    task: str = "tensor"
    """What the outputs mean: `classification` where they are the logits of classes."""
    untrained: bool = False
    """Its weights come from random ones, though they are given."""
    pixels: Pixels = "unknown"
    """The form in which pictures are fed."""
