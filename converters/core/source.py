"""What a model is, once it has been resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal[
    "torchvision",
    "timm",
    "hf",
    "ultralytics",
    "factory-file",
    "factory-module",
    "onnx",
    "exported-program",
    "torchscript",
    "live-module",
]
Task = Literal["detection", "classification", "tensor"]


class Source(BaseModel):
    """A resolved `MODEL`."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    ref: str
    """The name in its library (of a hub's model `ORG/NAME@REVISION#PART`, of one in a folder `#PART`), `factory` at `path`,
    `module:factory`, or nothing for a file."""
    path: Path | None = None
    """A file, or a hub's model as a folder."""
    name: str
    """Folder name of the build."""
    task: Task | None = None
    shape: str | None = None
    """Default shape, from the zoo."""
