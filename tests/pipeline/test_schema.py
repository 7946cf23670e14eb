"""The JSON Schemas, as an editor and a farm's checks use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from running import Answer, Built

from enginesmith.converters.core.facts import Facts
from enginesmith.pipeline.job.recipe import make_recipe

Command = Callable[..., Answer]

RECIPES = (
    "model: frcnn",
    "model: m.onnx\nshape: x:1..4..16x3x224x224\nbackend: tensorrt-rtx,tvm\ntarget: sm_86,native\nmeasure: 0",
    "model: resnet50\nprecision: auto\nbudget: 0.5%\ntime: 10m\ncalib: train/\neval: data.npz\ntune: 1.5 h",
    "model: f.py:make\nprecision: int8\nbudget: 0.02\nrest: fp16\nkeep_going: true\nproposals: 100\nout: /tmp/engines",
)
MISTAKES = {
    "modle: frcnn": "modle",
    "precision: fp61": "precision",
    "budget: 10m": "budget",
    "time: 10x": "time",
    "samples: 0": "samples",
    "keep_going: often": "keep_going",
}


@pytest.fixture
def schema(enginesmith: Command) -> Callable[[str], Draft202012Validator]:
    def read(of: str) -> Draft202012Validator:
        answer = enginesmith("schema", of)
        assert (answer.status, answer.err) == (0, "")
        printed = json.loads(answer.out)
        Draft202012Validator.check_schema(printed)
        return Draft202012Validator(printed)

    return read


Schema = Callable[[str], Draft202012Validator]


def test_recipes_that_build_takes_are_valid_and_others_are_not(schema: Schema) -> None:
    recipe = schema("recipe")
    for text in RECIPES:
        make_recipe(yaml.safe_load(text))
        recipe.validate(yaml.safe_load(text))
    for text, key in MISTAKES.items():
        error = next(recipe.iter_errors(yaml.safe_load(text)))
        assert error.path[0] == key if error.path else key in error.message, text


def test_manifests_of_builds_are_valid(schema: Schema, tiny: Built) -> None:
    manifest = json.loads((tiny.folder / "manifest.json").read_text())
    schema("manifest").validate(manifest)
    compiled = next(each for each in manifest["stages"] if each["stage"] == "compile")
    compiled |= {"status": "failed", "error": "refused", "facts": Facts(warnings=["one"]).model_dump()}
    manifest["stages"].append({"id": "x", "stage": "of a third party", "status": "built", "facts": {"anything": 1}})
    schema("manifest").validate(manifest)


def misspell(mapping: dict[str, Any], key: str) -> None:
    mapping[key[::-1]] = mapping.pop(key)


@pytest.mark.parametrize(("stage", "key"), [("import", "task"), ("compare", "comparison"), ("compile", "engine")])
def test_facts_are_those_of_the_stage(schema: Schema, tiny: Built, stage: str, key: str) -> None:
    manifest = json.loads((tiny.folder / "manifest.json").read_text())
    misspell(next(each for each in manifest["stages"] if each["stage"] == stage)["facts"], key)
    error = next(schema("manifest").iter_errors(manifest))
    assert error.path[-1] == "facts"


def test_a_misspelt_key_of_a_manifest(schema: Schema, tiny: Built) -> None:
    manifest = json.loads((tiny.folder / "manifest.json").read_text())
    misspell(manifest["engines"][0], "sha256")
    assert [*next(schema("manifest").iter_errors(manifest)).path] == ["engines", 0]


def test_an_unknown_schema(enginesmith: Command) -> None:
    answer = enginesmith("schema", "manfest")
    assert (answer.status, answer.out) == (2, "")
    assert "did you mean manifest?" in answer.err
