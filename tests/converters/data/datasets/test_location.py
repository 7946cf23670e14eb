"""The user's text, and the files behind it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from data_files import code, opened, picture

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.data.datasets import data_sources


def test_sources(tmp_path: Path) -> None:
    assert data_sources("", "calibration") == {}
    spec = code(tmp_path, "def load(): yield 1")
    file = Path(spec.removesuffix(":load"))
    assert data_sources(spec, "calibration") == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}
    folder = tmp_path / "pictures"
    picture(folder / "a" / "1.png")
    picture(folder / "b" / "1.png")
    before = data_sources(str(folder), "calibration")
    assert [*before] == [str(folder / "a" / "1.png"), str(folder / "b" / "1.png")]
    (folder / ".hidden").write_text("x")
    assert data_sources(str(folder), "calibration") == before
    (folder / "classes.txt").write_text("b\na\n")
    assert data_sources(str(folder), "calibration") != before
    assert [*data_sources(str(folder), "calibration")] == sorted(data_sources(str(folder), "calibration"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pictures_", r"EVAL=.*pictures_: there is no such file or folder \(nearest: pictures\); give a folder"),
        (
            "nothing.npz",
            "there is no such file or folder; give a folder, a data.npz, file.py:function or package.module:function",
        ),
        ("data.py", r"name the function too, as .*data\.py:NAME; it has load, other"),
        ("dat.py:load", r"there is no file .*dat\.py \(nearest: data\.py\)"),
        ("data.py:lod", r"data\.py has no function 'lod'; it has load$"),
        ("data.py:_inner_", r"data\.py has no function '_inner_'; it has "),
        ("broken.py", r"name the function too, as .*broken\.py:NAME$"),
        ("data.csv", "a file of this kind holds no data that can be read; give a folder"),
    ],
)
def test_places_that_are_none(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "data.csv").write_text("1,2")
    (tmp_path / "data.py").write_text("def load(): pass\ndef other(): pass\ndef _inner(): pass\n")
    (tmp_path / "broken.py").write_text("def load(:")
    with pytest.raises(UserError, match=message):
        opened(tmp_path / spec)
    with pytest.raises(UserError):
        data_sources(str(tmp_path / spec), "calibration")


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('run')\ndef load(): pass",
        "class load: pass",
        "load = make()",
        "from elsewhere import other as load",
        "from elsewhere import *",
        "if True:\n    def load(): pass",
        "def __getattr__(name): return lambda: []",
        "def load(:",
    ],
)
def test_a_function_is_looked_for_without_running_anything(tmp_path: Path, body: str) -> None:
    """Where it may be there after all, the import tells."""
    assert len(data_sources(code(tmp_path, body), "evaluation")) == 1


def test_the_command_line_stays_light() -> None:
    """It asks for the files, and must not wait for a framework."""
    heavy = ("numpy", "PIL", "onnx", "torch", "onnxruntime", "polygraphy")
    script = (
        "import sys; from enginesmith.converters.data.datasets import data_sources; from enginesmith.converters.data import metrics;"
        f"data_sources('', 'calibration'); print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
