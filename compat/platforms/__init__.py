"""Platforms that ship a backend: JetPack, containers and DRIVE OS, and the version that each release of them has inside."""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel, ConfigDict, Field

from enginesmith.compat.tables import read_table

__all__ = ["Platform", "Release", "find", "platforms"]

REGISTRY = "nvcr.io/nvidia/"
IMAGES = "nvcr"
"""The platform that any of NVIDIA's images is asked for by, as `nvcr=tritonserver:26.07-py3`; a tag alone is of its own image."""


class Release(BaseModel):
    """What one release ships, and the public page that says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensorrt: str = Field(pattern=r"^\d+\.\d+(\.\d+){0,2}$")
    cuda: str = ""
    cudnn: str = ""
    gpus: str = Field(default="", pattern=r"^(\d+\.\d\+|\d+\.\d( \d+\.\d)*)?$")
    """Compute capabilities that it runs on: all of them, or the first with a `+`; empty where the page doesn't say."""
    source: str = Field(pattern=r"^https://")

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Does it run on a GPU of this compute capability (major, minor)? Yes where that isn't known."""
        known = [_capability(word) for word in self.gpus.rstrip("+").split()]
        if self.gpus.endswith("+"):
            return capability >= known[0]
        return not known or capability in known


class Platform(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    image: str = ""
    """Name of its image in REGISTRY; empty for what is no container."""
    tag: str = ""
    """What the image's tag has after the release."""
    releases: dict[str, Release]
    """Oldest first."""

    def name(self, release: str) -> str:
        """As people call it."""
        return f"{self.title}:{release}{self.tag}" if self.title.startswith(REGISTRY) else f"{self.title} {release}"


@cache
def platforms() -> dict[str, Platform]:
    return {name: Platform.model_validate(value) for name, value in read_table(__name__, "table").items()}


def find(platform: str, release: str) -> tuple[Platform, str]:
    """One of `platforms()` and its release as the table has it, for `triton`, `26.07`, or for `nvcr` and an image's tag
    such as `tritonserver:26.07-py3`. Whether the release is on record isn't asked. Raises KeyError for another platform.
    """
    found = platforms()[platform]
    if platform == IMAGES:
        image, given, tag = release.removeprefix(REGISTRY).rpartition(":")
        of_image = [
            each for each in platforms().values() if each.image and each.image == (image if given else found.image)
        ]
        if not of_image:
            raise KeyError(image)
        # the longest ending first: …-trtllm-python-py3 ends in -py3 too
        by_length = sorted(of_image, key=lambda each: -len(each.tag))
        found = next((each for each in by_length if tag.endswith(each.tag)), of_image[0])
        release = tag
    return found, release.removesuffix(found.tag) if found.tag else release


def _capability(word: str) -> tuple[int, int]:
    major, minor = word.split(".")
    return int(major), int(minor)
