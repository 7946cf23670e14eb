"""An option is stated on the recipe's field: what the command line, make and the documentation have of it follows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.cli import options
from enginesmith.pipeline.cli.app import app
from enginesmith.pipeline.job.recipe import make_recipe

ROOT = Path(__file__).parents[2]
SOMETHING = {
    "precision": "fp16",
    "rest": "bf16",
    "method": "minmax",
    "consistency": "full",
    "hardware_compatible": "ampere+",
    "pixels": "bytes",
    "exporter": "dynamo",
    "opset": "17",
    "prune": "0.5",
    "importance": "l2",
}
"""Of fields that take no word and not every number."""


def parameters(command: str) -> dict[str, typer.core.TyperOption]:
    return {parameter.name: parameter for parameter in typer.main.get_command(app).commands[command].params}  # type: ignore[attr-defined]


def test_every_field_is_a_flag_with_the_fields_help():
    flags = parameters("build")
    assert {"--platform", "--for"} <= set(flags["platform"].opts)  # a second name, as doctor has it
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
    given = options.from_make({"ENGINESMITH_GIVEN": f"{name.upper()} MODEL", "MODEL": "lenet", name.upper(): value})
    assert given == {"model": "lenet", name: value}
    made = make_recipe(given)
    assert str(getattr(made, name)) in (value, "True", f"{value}.0")


@pytest.fixture
def make(tmp_path):
    """The Makefile of the project with an `enginesmith` that says what it was given."""
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for name in ("pyproject.toml", "constraints.txt", ".venv/.ready"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    echo = tmp_path / ".venv/bin/enginesmith"
    echo.parent.mkdir()
    told = "import json, os, sys\njson.dump([sys.argv[1:], dict(os.environ)], sys.stdout)\n"
    echo.write_text(f"#!{sys.executable}\n{told}")
    echo.chmod(0o755)

    def run(*variables: str, **environment: str) -> tuple[list[str], dict[str, str]]:
        done = subprocess.run(
            ["make", "-s", "engine", *variables],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            ".venv",
            "Makefile",
            "constraints.txt",
            "pyproject.toml",
        ]
        arguments, seen = json.loads(done.stdout)
        return options.readable(arguments, seen), options.from_make(seen)

    return run


VALUES = (
    "$(shell touch made)",
    "${shell touch made}",
    "$$(touch made)",
    "`touch made`; touch made & touch made | touch made > made",
    'it\'s "quoted", /a b/* # and this',
    "$HOME/é\\ ~",
    "--trust",
    "two\nlines\n\ttouch made",
    "x:1x3..8",
    "$",
)


@pytest.mark.parametrize("value", VALUES)
def test_neither_make_nor_a_shell_reads_a_value(make, value):
    _, given = make(f"MODEL={value}", f"OUT={value}")
    assert given == {"model": value, "out": value}


def test_make_and_no_shell_splits_the_flags(make):
    arguments, given = make("MODEL=lenet", "FLAGS=--out 'a b' --keep '$(shell touch made)' `touch made`; $HOME")
    assert given == {"model": "lenet"}
    assert arguments == [
        "build",
        "--make",
        "--out",
        "a b",
        "--keep",
        "$(shell touch made)",
        "`touch",
        "made`;",
        "$HOME",
    ]
    arguments, _ = make("MODEL=lenet", FLAGS="--keep-going $(shell touch made)")
    assert arguments[2:] == ["--keep-going", "$(shell", "touch", "made)"]


def test_of_the_environment_make_takes_no_options(make):
    _, given = make("MODEL=lenet", TARGET="sm_89", SHAPE="$(shell touch made)")
    assert given == {"model": "lenet"}


def test_flags_that_are_no_words_are_refused():
    with pytest.raises(UserError, match=r"FLAGS = .* can't be split"):
        options.readable(["build", "--make"], {"FLAGS": "--out 'a"})


def test_a_variable_that_no_option_has_is_refused():
    with pytest.raises(UserError, match="PRECISON; did you mean PRECISION"):
        options.from_make({"ENGINESMITH_GIVEN": "MODEL PRECISON", "MODEL": "lenet", "PRECISON": "int8"})
    assert options.from_make({"ENGINESMITH_GIVEN": "PYTHON ENGINESMITH_STORE", "PYTHON": "python3"}) == {}


def test_without_make_there_is_nothing():
    assert options.from_make({}) == {}


def test_the_documentation_has_the_table():
    """Write it anew with: python -c 'from enginesmith.pipeline.cli.options import table; print(table())'"""
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))))
    assert options.table() in pages
