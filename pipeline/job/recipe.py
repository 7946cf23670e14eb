"""Recipes from flags, from a YAML file, or from both."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Precision, Recipe


def make_recipe(flags: dict[str, Any], file: Path | None = None) -> Recipe:
    """A recipe from a file's keys with the given flags over them. Raises UserError, naming the field."""
    values = {**(_read(file) if file else {}), **flags}
    if "model" not in values:
        raise UserError("no model; give one (`enginesmith build frcnn`), or a recipe with `model:` (-f recipe.yaml)")
    try:
        return Recipe.model_validate(values)
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
        raise UserError(f"{field} = {first['input']!r}: {first['msg']}") from None


def _refused_precision(given: object) -> str:
    known = get_args(Precision)
    near = difflib.get_close_matches(str(given).lower(), known, n=1)
    return f"precision = {given!r} is not known; " + (
        f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UserError(f"can't read the recipe {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the recipe {file} is no YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"the recipe {file} must be a mapping such as `model: frcnn`")
    return values
