"""Recipes from flags, from a YAML file, or from both."""

from __future__ import annotations

import difflib
import reprlib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Precision, Recipe
from enginesmith.pipeline.job.trusted import strange_code

MOST_BYTES = 1 << 20
DEEPEST = 8
"""Lists and mappings within each other."""


class _Plain(yaml.SafeLoader):
    """YAML without what makes much of little: aliases, and depth; and without keys that are given twice."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"it has an alias in line {self.peek_event().start_mark.line + 1}; write it out")
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"it nests deeper than {DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [str(key.value) for key, _ in node.value if isinstance(key.value, str)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"it has {twice[0]!r} twice, in line {node.start_mark.line + 1} and after")
        return super().construct_mapping(node, deep)


def make_recipe(flags: dict[str, Any], file: Path | None = None) -> Recipe:
    """A recipe from a file's keys with the given flags over them. Raises UserError, naming the field."""
    read = _read(file) if file else {}
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
        raise UserError(f"{field} = {reprlib.repr(first['input'])}: {first['msg']}") from None
    if file and not recipe.trust and (code := strange_code(recipe, file, set(read) - set(flags))):
        raise UserError(
            f"the recipe {file} names code that is not of the folder where you are ({code}); if you trust it, give --trust "
            "(TRUST=1)"
        )
    return recipe


def _refused_precision(given: object) -> str:
    known = get_args(Precision)
    near = difflib.get_close_matches(str(given).lower(), known, n=1)
    return f"precision = {given!r} is not known; " + (
        f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"the recipe {file} has more than {MOST_BYTES >> 20} MB; is it the model?")
        values = yaml.load(content.decode("utf-8-sig"), _Plain)
    except OSError as error:
        raise UserError(f"can't read the recipe {file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"the recipe {file} is no YAML: {str(error)[:300]}") from None
    if not isinstance(values, dict):
        raise UserError(f"the recipe {file} must be a mapping such as `model: frcnn`")
    return values
