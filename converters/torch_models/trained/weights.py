"""The weights that come along: half precision on disk, float32 in the model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def path_of(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.pt")


def loaded(model: nn.Module, name: str, file: Path | None = None) -> nn.Module:
    """The model with the weights of this name, or of a file that `saved` wrote, in evaluation mode."""
    state = torch.load(file or path_of(name), map_location="cpu", weights_only=True)
    model.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    return model.eval()


def saved(model: nn.Module, path: Path) -> None:
    """Write a model's weights as `loaded` takes them."""
    state = model.state_dict()
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, path)
