"""Recipes from flags, from a YAML file, or from both."""

from __future__ import annotations

import difflib
import reprlib
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from yaml.composer import ComposerError
from yaml.error import MarkedYAMLError

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Precision, Recipe
from enginesmith.pipeline.job.trusted import strange_code

LARGEST = 1_000_000
"""Bytes of a recipe's file."""


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


class _Useless(ComposerError):
    """YAML that a recipe has no use for."""


class _Loader(yaml.SafeLoader):
    """YAML without references, of which a few lines can make gigabytes, and a key twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _Useless(None, None, "a recipe has no references (*name)", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(str(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.most_common(1):
            if count > 1:
                raise _Useless(None, None, f"{key[:60]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            text = stream.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise UserError(f"{file} is no recipe: it has more than {LARGEST // 1000} kB")
        values = yaml.load(text, _Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"can't read the recipe {file}: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"the recipe {file} is no mapping such as `model: frcnn`: it is nested too deep") from None
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        wrong = "" if isinstance(error, _Useless) else " is no YAML"
        raise UserError(f"the recipe {file}{wrong}{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that there isn't, bytes that are no text
        raise UserError(f"the recipe {file} is no YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"the recipe {file} must be a mapping such as `model: frcnn`")
    return values
