"""What the stage leaves to those after it: a state dict, and the record of how it came about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.files import hash_file
from enginesmith.converters.torch_models.source import LoadedModel
from enginesmith.converters.torch_models.weights import load_weights
from enginesmith.converters.training.record import FineTuning

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "weights.pt"


def save(folder: Path, model: nn.Module, record: FineTuning) -> None:
    import torch

    torch.save(model.state_dict(), folder / WEIGHTS)
    record.save(folder)


def take_weights(loaded: LoadedModel, folder: Path) -> None:
    """Give a loaded model the weights of an artifact, in place."""
    load_weights(loaded.module, folder / WEIGHTS, trust=False)
    was = loaded.weights
    loaded.weights = was.model_copy(
        update={
            "origin": "file",
            "detail": f"fine-tuned from {was.origin} weights ({was.detail})",
            "sha256": hash_file(folder / WEIGHTS),
        }
    )
