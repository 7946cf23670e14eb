"""What fine-tuning did to a model."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

RECORD = "finetuning.json"


class FineTuning(BaseModel):
    """Layers are named as in the torch model."""

    function: str
    """The user's `file.py:function`, empty where the model was pruned and not trained."""
    rounded: list[str] = []
    """Layers that were trained with int8's rounding."""
    pruned: list[str] = []
    """Layers whose weights are 2:4 sparse."""
    left: dict[str, str] = {}
    """Layers that were meant and can't be, and why."""
    ranges: dict[str, float] = {}
    """Of each rounded layer's input: the magnitude that int8's largest code stood for at the end of the training."""
    fingerprints: dict[str, str] = {}
    """Of each rounded layer's weights, by which it is found in an ONNX graph; `ranges.fingerprint`."""
    steps: int = 0
    """Steps that the function told of."""
    losses: list[float] = []
    """The loss at each of them; not all functions tell it."""
    trained: float = 0.0
    """Norm of the change that the function made to the parameters, over their norm before it."""
    seconds: float = 0.0

    def save(self, folder: Path) -> None:
        (folder / RECORD).write_text(self.model_dump_json(indent=1))

    @classmethod
    def load(cls, folder: Path) -> FineTuning:
        return cls.model_validate_json((folder / RECORD).read_bytes())
