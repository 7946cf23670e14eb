"""What a stage is told."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of every stage's options: frozen, and closed so that a misspelt one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
