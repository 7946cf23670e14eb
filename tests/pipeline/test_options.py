"""An option is stated on the recipe's field: what the command line, make and the documentation have of it follows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import typer

from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.cli import options
from enginesmith.pipeline.cli.app import app
from enginesmith.pipeline.job.recipe import make_recipe

ROOT = Path(__file__).parents[2]
SOMETHING = {
    "precision": "fp16",
    "rest": "bf16",
    "method": "minmax",
    "pixels": "bytes",
    "exporter": "dynamo",
    "opset": "17",
}
"""Of fields that take no word and no number."""


def parameters(command: str) -> dict[str, typer.core.TyperOption]:
    return {parameter.name: parameter for parameter in typer.main.get_command(app).commands[command].params}  # type: ignore[attr-defined]


def test_every_field_is_a_flag_with_the_fields_help():
    flags = parameters("build")
    for name, field in Recipe.model_fields.items():
        assert (field.description or "?") in (flags[name].help or ""), name


def test_a_flag_that_is_not_given_leaves_the_recipes_file_alone():
    assert all(flag.default in (None, False) for flag in parameters("build").values())


@pytest.mark.parametrize("name", [name for name in Recipe.model_fields if name != "model"])
def test_every_field_is_a_variable_of_make(name):
    kind = Recipe.model_fields[name].annotation
    value = SOMETHING.get(
        name, "1" if kind in (bool, int, float) or "int" in str(kind) or "float" in str(kind) else "x"
    )
    given = options.from_make({"MAKEFLAGS": f"s -- MODEL=lenet {name.upper()}={value}"})
    assert given == {"model": "lenet", name: value}
    made = make_recipe(given)
    assert str(getattr(made, name)) in (value, "True", f"{value}.0")


def test_make_hands_over_what_a_shell_would_change(tmp_path):
    """Spaces, quotes and dollars; what comes before the variables are make's own flags."""
    makefile = tmp_path / "Makefile"
    makefile.write_text('engine:\n\t@printf %s "$$MAKEFLAGS"\n')
    words = ["KEEP=it's, /a b/*", 'SHAPE=x:"1"', "OUT=$HOME/é"]
    done = subprocess.run(
        ["make", "-sf", str(makefile), "engine", "MODEL=a;b", *words], capture_output=True, text=True, check=True
    )
    given = options.from_make({"MAKEFLAGS": done.stdout})
    assert given["model"] == "a;b"
    assert given["keep"] == "it's, /a b/*"
    assert given["shape"] == 'x:"1"'
    assert given["out"] == "$HOME/é"


def test_without_make_there_is_nothing():
    assert options.from_make({}) == {}
    assert options.from_make({"MAKEFLAGS": "sk -j2"}) == {}


def test_the_documentation_has_the_table():
    """Write it anew with: python -c 'from enginesmith.pipeline.cli.options import table; print(table())'"""
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))))
    assert options.table() in pages
