"""Platforms that ship a backend: JetPack, containers and DRIVE OS, and the version that each release of them has inside."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Platform", "Release", "platforms", "shipped"]


class Release(BaseModel):
    """What one release ships, and the public page that says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensorrt: str = Field(pattern=r"^\d+\.\d+(\.\d+){0,2}$")
    cuda: str = ""
    source: str = Field(pattern=r"^https://")


class Platform(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    releases: dict[str, Release]
    """Oldest first."""


@cache
def platforms() -> dict[str, Platform]:
    content = yaml.safe_load(files(__package__).joinpath("table.yaml").read_text(encoding="utf-8"))
    return {name: Platform.model_validate(value) for name, value in content.items()}


def shipped(platform: str, release: str) -> Release | None:
    """What a release of one of `platforms()` ships; None where that is not on record."""
    return platforms()[platform].releases.get(release)
