"""What the platform that an engine is for ships, and whether it can load what a build makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enginesmith.compat.platforms import REGISTRY, Release, find, platforms
from enginesmith.converters.backends import AUTO, get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.plan import EngineTarget
from enginesmith.converters.core.recipe import Recipe


@dataclass(frozen=True)
class Shipped:
    """A release of a platform. `name` is what people call it."""

    name: str
    release: Release


def is_platform(name: str) -> bool:
    return name in platforms()


def shipped(name: str, release: str, instead: str = "") -> Shipped:
    """What is on record of a release, as of `triton` and `26.07`, or `nvcr` and `tritonserver:26.07-py3`.

    Raises UserError for a platform or release that nothing is known of, with what may be given `instead`.
    """
    if not is_platform(name):
        raise unknown("platform", name, [*platforms()])
    try:
        platform, number = find(name, release)
    except KeyError as error:
        images = sorted({each.image for each in platforms().values() if each.image})
        raise unknown(f"image of {REGISTRY.rstrip('/')}", error.args[0], images) from None
    if found := platform.releases.get(number):
        return Shipped(platform.name(number), found)
    what = f"which TensorRT {platform.name(number)} ships is not on record" if number else f"{name}: give a release"
    raise UserError(f"{what}; known are {', '.join(platform.releases)}{instead}")


def check(recipe: Recipe, engines: Sequence[EngineTarget]) -> tuple[str, ...]:
    """Warnings for the engines of a build that the recipe's platforms can't load. The option is read only where an engine
    needs something of its platform.

    Raises UserError where a backend was asked for whose engine can't be loaded, or where no engine of the build can.
    """
    needing = [engine for engine in engines if get_backend(engine.backend).gpu]
    if not needing or not recipe.platform.strip(" ,"):
        return ()
    refused: dict[EngineTarget, str] = {}
    for word in filter(None, map(str.strip, recipe.platform.split(","))):
        name, _, release = word.partition("=")
        there = shipped(name, release)
        for engine in needing:
            if reason := get_backend(engine.backend).unloadable(engine.target, there.name, there.release):
                refused.setdefault(engine, reason)
    if refused and (recipe.backend != AUTO or len(refused) == len(engines)):
        raise UserError("; ".join(refused.values()))
    return tuple(refused.values())
