"""What runs code of a stranger's without being asked to: nothing. Recipes that name files, and engines from elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.api.engine import Engine
from enginesmith.pipeline.job.manifest import EngineRecord
from enginesmith.pipeline.job.recipe import make_recipe
from enginesmith.pipeline.job.trusted import note_built, was_built_here

CODE = "def f():\n    open('ran', 'w')\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the user is, with code and a stranger's folder beside it."""
    for folder in ("here", "strange"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").write_text(CODE)
        (tmp_path / folder / "package").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize(
    "line",
    [
        "model: ../strange/code.py:f",
        "model: code:f\nfinetune: ../strange/code.py:f",
        "model: lenet\ncalib: ../strange/code.py:f",
        "model: lenet\neval: ../strange/code.py:f",
        "model: lenet\nmetric: ../strange/code.py:f",
        "model: os:abort",
        "model: antigravity:f",
    ],
)
def test_a_recipe_names_code_from_elsewhere(line: str, here: Path) -> None:
    (here / "r.yaml").write_text(line)
    with pytest.raises(UserError, match=r"names code that is not of the folder where you are .*--trust"):
        make_recipe({}, here / "r.yaml")
    assert make_recipe({"trust": True}, here / "r.yaml").trust


def test_a_recipe_from_elsewhere_names_code_beside_it(here: Path) -> None:
    recipe = here.parent / "strange" / "r.yaml"
    for line in ("model: ../strange/code.py:f", "model: code.py:f", "model: package:f"):
        recipe.write_text(line)
        with pytest.raises(UserError, match="--trust"):
            make_recipe({}, recipe)


def test_a_recipe_names_the_users_own_code(here: Path) -> None:
    for line in ("model: code.py:f", "model: code:f", "model: package.module:f", "model: torchvision:resnet18"):
        (here / "r.yaml").write_text(line)
        assert make_recipe({}, here / "r.yaml").model
    (here / "r.yaml").write_text("model: ../strange/code.py:f\ncalib: ../strange/code.py:f")
    assert make_recipe({"model": "../strange/code.py:f", "calib": ""}, here / "r.yaml"), "who types a name means it"


def test_a_recipe_does_not_trust_itself(here: Path) -> None:
    (here / "r.yaml").write_text("model: ../strange/code.py:f\ntrust: true")
    with pytest.raises(UserError, match="asks to be trusted; that is for who runs it to say"):
        make_recipe({}, here / "r.yaml")


def test_an_engine_from_elsewhere_does_not_run(tmp_path: Path) -> None:
    """A TVM module is a shared library, whose constructors run when it is loaded."""
    source = tmp_path / "evil.c"
    source.write_text(
        f'#include <stdio.h>\n__attribute__((constructor)) static void f(void) {{ fopen("{tmp_path}/ran", "w"); }}\n'
    )
    if shutil.which("cc") is None:
        pytest.skip("no compiler here")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "engine.so", source], check=True)
    record = EngineRecord(
        backend="tvm",
        target="x86-64-v2",
        path="engine.so",
        size=1,
        sha256="",
        layers=1,
        verified="yes",
    )
    with Engine(record, tmp_path) as engine, pytest.raises(UserError, match=r"was not built here.*trust=True"):
        engine()
    assert not (tmp_path / "ran").exists()


def test_what_was_built_here_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "engine").write_bytes(b"one")
    assert not was_built_here(tmp_path / "engine")
    note_built("7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed")
    assert was_built_here(tmp_path / "engine")
    (tmp_path / "engine").write_bytes(b"two")
    assert not was_built_here(tmp_path / "engine")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB + "model: *i\n", "line 2: it may have no references"),
        ("model: lenet\nsamples: &a [1]\n", "samples"),
        ("[" * 3000, "nested too deep"),
        ("model: lenet\nmodel: mlp\n", "'model' stands twice"),
        ("model: [" + "x," * 100_000 + "]", "model = "),
        ("model: lenet\nsamples: [" + "x," * 100_000 + "]", "samples = "),
        ("x" * (1 << 21), "has more than 1000 kB"),
    ],
)
def test_a_recipe_that_makes_much_of_little(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UserError) as told:
        make_recipe({}, tmp_path / "r.yaml")
    assert message in str(told.value)
    assert len(str(told.value)) < 500
