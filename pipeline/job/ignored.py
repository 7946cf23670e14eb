"""Options that a build would ignore are refused: those that the user gave, and that no stage has read while it was planned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Recipe, shown


class _Watched:
    """A recipe that notes which of its fields are read."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._left = set(Recipe.model_fields)

    def __getattr__(self, name: str) -> Any:
        if name in Recipe.model_fields:
            self._left.discard(name)
        else:  # a method, which may read all of them
            self._left.clear()
        return getattr(self._recipe, name)


@contextmanager
def watched(recipe: Recipe) -> Iterator[Recipe]:
    """A recipe to plan with. Raises UserError at the end for an option that is for other builds than the one planned, where
    the user gave it for this one: a recipe's file may serve several.
    """
    reader = _Watched(recipe)
    yield cast(Recipe, reader)
    for name in Recipe.model_fields:
        if name in reader._left and shown(name).for_ and _asked(recipe, name):
            raise UserError(f"{name} is for {shown(name).for_}, and nothing of this build takes it; leave it out")


def _asked(recipe: Recipe, name: str) -> bool:
    """Did the user give it, and something else than the default?"""
    return name in recipe.model_fields_set and getattr(recipe, name) != Recipe.model_fields[name].default
