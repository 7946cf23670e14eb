"""What a pruning did to a model."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

RECORD = "pruning.json"


class CutGroup(BaseModel):
    """A group of channels that were cut together. The layers are named as in the torch model."""

    name: str
    layers: list[str]
    """Those that make the channels."""
    channels: int
    """Those that it had."""
    cut: int
    difference: float
    """Proof: from the whole model with the same channels zero."""


class Pruning(BaseModel):
    ratio: float
    importance: str
    groups: list[CutGroup] = []
    left: dict[str, str] = {}
    """Groups and layers that are whole, and why."""
    parameters: tuple[int, int]
    """Before and after."""
    operations: tuple[int, int]
    """Multiplications and additions of a call, before and after."""
    difference: float = 0.0
    """Proof of the whole cut."""

    def save(self, folder: Path) -> None:
        (folder / RECORD).write_text(self.model_dump_json(indent=1))

    @classmethod
    def load(cls, folder: Path) -> Pruning:
        return cls.model_validate_json((folder / RECORD).read_bytes())
