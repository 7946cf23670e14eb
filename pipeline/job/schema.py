"""The JSON Schemas of what people write and programs read: recipes and manifests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.recipe import UNITS, Recipe, Shown, shown
from enginesmith.converters.stages.registry import facts_type, names
from enginesmith.pipeline.job.manifest import Manifest, StageRecord

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def recipe_schema() -> Schema:
    """Of a recipe file. Amounts may have a unit; `model` may also be left to the command line."""
    schema = Recipe.model_json_schema()
    del schema["required"]
    for name, field in schema["properties"].items():
        for key in Shown.__dataclass_fields__:
            field.pop(key, None)
        if amount := shown(name).amount:
            units, example = UNITS[amount]
            allowed = {form for unit in units for form in (unit, unit.upper())}
            written = {"type": "string", "pattern": rf"^\s*\d+(\.\d+)?\s*({'|'.join(sorted(allowed))})\s*$"}
            limits = {key: field.pop(key) for key in ("type", "minimum", "exclusiveMinimum") if key in field}
            field["anyOf"] = [*field.get("anyOf", [limits]), written | {"examples": [example]}]
    return {"$schema": DRAFT, **schema}


def manifest_schema() -> Schema:
    """Of `manifest.json`. A stage's facts are those that it tells by its name, or what any stage tells where it failed; those
    of a stage of a third party that isn't installed are left open."""
    kinds = {name: facts_type(name) for name in names()}
    types: list[type[BaseModel]] = [Manifest, Facts, *dict.fromkeys(kinds.values())]
    places, whole = models_json_schema([(kind, "validation") for kind in types])
    definitions = whole["$defs"]
    for definition in definitions.values():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
    anything = places[Facts, "validation"]
    stage = definitions[StageRecord.__name__]
    stage["properties"]["facts"] = {"type": "object"}
    stage["allOf"] = [
        {
            "if": {"properties": {"stage": {"const": name}}},
            "then": {"properties": {"facts": {"anyOf": [anything, places[kind, "validation"]]}}},
        }
        for name, kind in kinds.items()
    ]
    return {"$schema": DRAFT, "$defs": definitions, **places[Manifest, "validation"]}


SCHEMAS: dict[str, Callable[[], Schema]] = {"recipe": recipe_schema, "manifest": manifest_schema}
