"""The other commands, and how the command line behaves as a program."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from running import ENGINESMITH
from test_store import put

from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline import __version__
from enginesmith.pipeline.cli import command
from enginesmith.pipeline.job.store import Store
from enginesmith.pipeline.job.zoo import zoo

HEAVY = {"torch", "tvm", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "polygraphy", "numpy", "plotly"}


@pytest.mark.parametrize("arguments", [["--help"], ["build", "-h"], ["cache", "--help"], ["--version"], ["lenett"]])
def test_help_imports_nothing_heavy(arguments):
    code = f"""
import sys
sys.argv = ["enginesmith", *{arguments!r}]
from enginesmith.pipeline.cli.app import main
try:
    main()
except SystemExit:
    pass
print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == ""
    assert done.stdout or "lenett" in arguments


def test_every_recipe_field_is_a_flag():
    helped = subprocess.run(
        [ENGINESMITH, "build", "-h"], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"}
    ).stdout
    for name in Recipe.model_fields:
        assert f"--{name.replace('_', '-')}" in helped or name == "model", name


def test_version(enginesmith):
    assert enginesmith("--version").out == f"{__version__}\n"


def test_a_wrong_flag(enginesmith):
    answer = enginesmith("build", "lenet", "--bakcend", "tvm")
    assert answer.status == 2
    assert "--backend" in answer.err


def test_our_own_bug_is_one_line_and_a_file(enginesmith, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(command, "show_models", lambda as_json: {}["a\nkey"])
    answer = enginesmith("models")
    assert answer.status == 3
    (line,) = answer.err.splitlines()
    assert line.startswith("enginesmith: a bug: KeyError")
    assert "Traceback" in Path(line.split()[-1]).read_text()


def test_models(enginesmith):
    answer = enginesmith("models")
    assert answer.status == 0
    assert all(name in answer.out for name in zoo())
    assert json.loads(enginesmith("models", "--json").out) == {name: e.model_dump() for name, e in zoo().items()}


def test_env(enginesmith):
    answer = enginesmith("env", "--json")
    rows = {row["backend"]: row for row in json.loads(answer.out)["backends"]}
    assert rows.keys() == {"tensorrt", "tensorrt-rtx", "tvm"}
    assert (rows["tvm"]["build"], rows["tvm"]["run"]) == ("", "")
    for name, row in rows.items():
        assert row["version"] or "pip install" in row["build"], name
    answer = enginesmith("env")
    assert answer.status == 0
    assert "yes, for " in answer.out


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "own")
    put(store, "aa" + 62 * "0", data=bytes(1_500_000))
    put(store, "bb" + 62 * "0", data=bytes(500_000))
    return store


def test_cache_ls(enginesmith, store):
    answer = enginesmith("cache", "ls", "--store", str(store.root))
    assert "1.5 MB" in answer.out
    assert answer.out.endswith(f"2 artifacts, 0.00 GB in {store.root}\n")
    rows = json.loads(enginesmith("cache", "ls", "--store", str(store.root), "--json").out)
    assert [row["size"] for row in rows] == [1_500_000, 500_000]
    assert rows[0]["key"].startswith("aa")


def test_cache_gc(enginesmith, store):
    answer = enginesmith("cache", "gc", "--keep", "1 MB", "--store", str(store.root), "--json")
    assert json.loads(answer.out) == {"removed": 1, "bytes": 1_500_000}
    assert (
        enginesmith("cache", "gc", "--older", "12h", "--store", str(store.root)).out == "removed 0 artifacts, 0.00 GB\n"
    )
    assert enginesmith("cache", "gc", "--keep", "0.4mb", "--older", "1.5d", "--store", str(store.root)).status == 0
    assert list(store.entries()) == []


def test_cache_verify(enginesmith, store):
    answer = enginesmith("cache", "verify", "--store", str(store.root))
    assert (answer.status, answer.out) == (0, "2 artifacts are whole\n")
    key = "bb" + 62 * "0"
    (store.files(key) / "data").write_bytes(b"")
    answer = enginesmith("cache", "verify", "--store", str(store.root))
    assert answer.status == 1
    assert answer.out == f"damaged, removed: {key}\n1 artifacts are whole, 1 were damaged\n"
    answer = enginesmith("cache", "verify", "--store", str(store.root), "--json")
    assert (answer.status, json.loads(answer.out)) == (0, {"damaged": []})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to remove: --keep 20GB"),
        (["--keep", "much"], "can't read 'much'; write it like 20GB"),
        (["--keep", "20"], "can't read '20'; write it like 20GB"),
        (["--keep", "20 gallons"], "can't read '20 gallons'"),
        (["--keep", ".GB"], "can't read '.GB'"),
        (["--keep", "1.2.3GB"], "can't read '1.2.3GB'"),
        (["--keep", "-1GB"], "can't read '-1GB'"),
        (["--older", "30 GB"], "can't read '30 GB'; write it like 30d"),
    ],
)
def test_a_bad_quantity(enginesmith, store, arguments, message):
    answer = enginesmith("cache", "gc", "--store", str(store.root), *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1
    assert len(list(store.entries())) == 2


def test_a_closed_pipe_is_no_bug(tiny):
    """As in `enginesmith models | head -1`."""
    done = subprocess.run(
        ["bash", "-c", f"{ENGINESMITH} cache ls --json --store {tiny.shell.store} | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "bug" not in done.stderr
    assert done.returncode in (0, 1)


def test_on_a_terminal_the_live_line_goes_and_the_table_stays(tiny):
    """One stage works, the others come from the store."""
    ours, theirs = pty.openpty()
    with tiny.shell.start(
        *tiny.again[:-2], "--measure", "0.3", stdin=theirs, stdout=theirs, stderr=theirs, text=False
    ) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    text = shown.decode()
    assert process.returncode == 0
    assert "⠋" in text or "⠙" in text, "a spinner"
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor comes back"
    assert text.index("\x1b[?25h") < text.index("verdict"), "the live line ends before the table"
    lines = [line.split("\r")[-1] for line in text[text.index("\x1b[?25h") :].splitlines()]
    assert lines[-1].startswith("report")
    assert not any("⠋" in line for line in lines)
