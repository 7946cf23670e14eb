"""A stage's key: the same for the same work, and another for each thing that can change the result."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from enginesmith.converters.core import hashing
from enginesmith.converters.core.hashing import code_version, hash_tree, hash_value, package_versions
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.stages.compile import CompileOptions
from enginesmith.converters.stages.registry import STAGES, stage_module
from enginesmith.converters.stages.simplify import SimplifyOptions
from enginesmith.pipeline.job import keys
from enginesmith.pipeline.job.keys import stage_key, stage_tools

SIMPLIFY = PlannedStage("simplify", "simplify", SimplifyOptions(), needs={"model": "export"})


def test_same_work_same_key():
    again = PlannedStage("another name", "simplify", SimplifyOptions(seconds=300), needs={"model": "import"})
    assert stage_key(SIMPLIFY, {"model": "a"}) == stage_key(again, {"model": "a"})


def test_an_option_or_an_input_changes_the_key():
    key = stage_key(SIMPLIFY, {"model": "a"})
    assert stage_key(replace(SIMPLIFY, options=SimplifyOptions(seconds=301)), {"model": "a"}) != key
    assert stage_key(SIMPLIFY, {"model": "b"}) != key
    assert stage_key(SIMPLIFY, {"samples": "a"}) != key


def test_a_package_of_the_stage_changes_the_key_and_no_other(monkeypatch):
    key = stage_key(SIMPLIFY, {})
    versions = hashing.metadata.version
    upgraded = {"tensorrt-rtx-cu12": "99"}
    monkeypatch.setattr(hashing.metadata, "version", lambda package: upgraded.get(package) or versions(package))
    assert stage_key(SIMPLIFY, {}) == key
    upgraded["onnxsim"] = "99"
    assert stage_tools(SIMPLIFY)["onnxsim"] == "99"
    assert stage_key(SIMPLIFY, {}) != key


def test_the_backend_says_which_packages_count(monkeypatch):
    compilation = PlannedStage("compile", "compile", CompileOptions(backend="tvm", target="x86-64"))
    assert "apache-tvm" in stage_tools(compilation)
    assert not any("tensorrt" in package for package in stage_tools(compilation))


@pytest.mark.parametrize("part", ["python_version", "machine"])
def test_the_machine_counts(monkeypatch, part):
    key = stage_key(SIMPLIFY, {})
    monkeypatch.setattr(keys.platform, part, lambda: "other")
    assert stage_key(SIMPLIFY, {}) != key


def test_missing_packages_are_left_out():
    assert package_versions(("pydantic", "no-such-package")).keys() == {"pydantic"}


def test_the_order_of_files_does_not_count():
    assert hash_tree({"a": "1", "b": "2"}) == hash_tree({"b": "2", "a": "1"}) != hash_tree({"a": "2", "b": "1"})
    assert hash_value(["a", "b"]) != hash_value(["b", "a"])


PLACES = {
    **{name: f"{name}.py" for name in ("stage", "near", "far", "other")},
    "package": "inner/__init__.py",
    "deep": "inner/deep.py",
    "table": "inner/table.yaml",
}


@pytest.fixture
def forge(tmp_path, monkeypatch):
    """A package of ours called `forge.part`: call it with files to write, for the version of `stage`."""
    part = tmp_path / "forge" / "part"
    part.mkdir(parents=True)
    (part / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(hashing, "OURS", "forge")

    def version(**files: str) -> str:
        for name, text in files.items():
            path = part / PLACES[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        code_version.cache_clear()
        hashing._read.cache_clear()
        hashing._own_file.cache_clear()
        return code_version("forge.part.stage")

    yield version
    sys.modules.pop("forge", None)
    sys.modules.pop("forge.part", None)
    code_version.cache_clear()
    hashing._read.cache_clear()


@pytest.mark.parametrize(
    "statement",
    [
        "import forge.part.near",
        "from forge.part import near",
        "from forge.part.near import thing",
        "def run():\n    from forge.part import near",
        "import forge.part.near as other",
    ],
)
def test_an_edit_of_what_a_stage_imports_changes_its_code(forge, statement):
    before = forge(stage=statement, near="import forge.part.far", far="x = 1", other="x = 1")
    assert forge() == before
    assert forge(other="x = 2") == before
    assert forge(near="import forge.part.far  # edited") != before
    assert forge(far="x = 2", near="import forge.part.far") != before


@pytest.mark.parametrize(
    "statement", ["for m in iter_modules(__path__): ...", 'import_module("forge.part.inner.deep")']
)
def test_an_edit_of_what_a_package_imports_by_name_changes_a_stages_code(forge, statement):
    before = forge(stage="import forge.part.inner", package=statement, deep="x = 1")
    assert forge(deep="x = 2") != before


@pytest.mark.parametrize(
    "edit", [{"stage": "import forge.part.inner.deep "}, {"package": "x = 2"}, {"deep": "x = 2"}, {"table": "a: 2"}]
)
def test_an_edit_of_the_stage_its_packages_or_its_data_changes_its_code(forge, edit):
    before = forge(stage="import forge.part.inner.deep", package="", deep="x = 1", table="a: 1")
    assert forge() == before
    assert forge(**edit) != before


def test_circular_imports_end(forge):
    assert forge(stage="import forge.part.near", near="import forge.part.stage") == forge()


def test_modules_of_others_do_not_count(forge):
    assert forge(stage="import json") != forge(stage="import forge.part.near", near="")
    assert hashing._own_file("json") is None
    assert hashing._own_file("enginesmith.converters.no_such") is None


def test_every_stage_reads_its_code_without_importing_a_framework():
    """`find_spec` of a submodule would import torch with the package around it."""
    import subprocess

    code = (
        "import sys; from enginesmith.converters.core.hashing import code_version; "
        f"versions = {{code_version(m) for m in {sorted({stage_module(name) for name in STAGES})!r}}}; "
        f"assert len(versions) == {len(STAGES)}; "
        "assert not {'torch', 'tvm', 'onnx', 'onnxruntime'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("backend", "reached", "others"),
    [("tvm", "importer.py", "session.py"), ("tensorrt-rtx", "session.py", "importer.py")],
)
def test_a_key_reaches_what_is_imported_as_it_runs_and_the_backend_that_is_named(monkeypatch, backend, reached, others):
    files = set()
    original = hashing._read.__wrapped__

    def spy(path):
        files.add(path.name)
        return original(path)

    monkeypatch.setattr(hashing, "_read", spy)
    code_version.cache_clear()
    options = CompileOptions(backend=backend, target="native")
    stage_key(PlannedStage("compile", "compile", options, backend=backend, target="native"), {})
    code_version.cache_clear()
    assert {"compile.py", "backend.py", "folding.py", "findings.py", reached} <= files
    assert not files & {"export.py", others}


def test_a_plug_in_counts_with_its_code(monkeypatch, tmp_path):
    """Its version stays the same while it is being written."""
    place = EntryPoint("plugged", "edited_plug_in:Plugged", "enginesmith.backends")
    monkeypatch.setitem(keys.BACKENDS._places, "plugged", place)
    monkeypatch.setitem(keys.BACKENDS._loaded, "plugged", keys.BACKENDS["tvm"])
    (tmp_path / "edited_plug_in.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    planned = PlannedStage("compile", "compile", CompileOptions(backend="plugged", target="native"), backend="plugged")
    found = []
    for text in ("x = 1", "x = 1", "x = 2"):
        (tmp_path / "edited_plug_in.py").write_text(text)
        hashing.plugin_version.cache_clear()
        found.append(stage_key(planned, {}))
    assert found[0] == found[1] != found[2]
