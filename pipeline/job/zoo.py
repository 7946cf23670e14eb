"""The model zoo: `zoo.yaml`, read."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.source import Task


class ZooEntry(BaseModel):
    """One model of the zoo; the fields are explained in `zoo.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    shape: str
    task: Task
    about: str
    calib: str = ""
    eval: str = ""


@cache
def zoo() -> dict[str, ZooEntry]:
    """All entries by name, in the file's order."""
    text = resources.files(__package__).joinpath("zoo.yaml").read_text()
    return {name: ZooEntry.model_validate(entry) for name, entry in yaml.safe_load(text).items()}


def with_own_data(recipe: Recipe) -> Recipe:
    """The recipe with the data that its model comes with, where the user gave none; they don't count as asked for."""
    entry = zoo().get(recipe.model)
    own = {name: getattr(entry, name) for name in ("calib", "eval") if entry and not getattr(recipe, name)}
    return Recipe.model_construct(recipe.model_fields_set, **{**dict(recipe), **own})
