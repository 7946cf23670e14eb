"""Recipes from flags, from a YAML file, or from both."""

from __future__ import annotations

import difflib
import reprlib
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Precision, Recipe
from enginesmith.pipeline.job.trusted import strange_code
from enginesmith.pipeline.job.yaml_files import read_mapping


def make_recipe(flags: dict[str, Any], file: Path | None = None) -> Recipe:
    """A recipe from a file's keys with the given flags over them. Raises UserError, naming the field."""
    read = read_mapping(file, "recipe", "model: frcnn") if file else {}
    if read.get("trust") and not flags.get("trust"):
        raise UserError(f"the recipe {file} asks to be trusted; that is for who runs it to say: give --trust (TRUST=1)")
    values = {**read, **flags}
    if "model" not in values:
        raise UserError("no model; give one (`enginesmith build frcnn`), or a recipe with `model:` (-f recipe.yaml)")
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(field, Recipe.model_fields, n=1)
            raise UserError(
                f"unknown key {field!r} in the recipe" + (f"; did you mean {near[0]!r}?" if near else "")
            ) from None
        if field == "precision":
            raise UserError(_refused_precision(first["input"])) from None
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{field} = {reprlib.repr(first['input'])}: {message}") from None
    if file and not recipe.trust and (code := strange_code(recipe, file, set(read) - set(flags))):
        raise UserError(
            f"the recipe {file} names code that is not of the folder where you are ({code}); if you trust it, give --trust "
            "(TRUST=1)"
        )
    recipe.model_fields_set.intersection_update(flags)  # a file may serve several builds
    return recipe


def _refused_precision(given: object) -> str:
    known = get_args(Precision)
    near = difflib.get_close_matches(str(given).lower(), known, n=1)
    return f"precision = {given!r} is not known; " + (
        f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    )
