"""A stage of a third party: one module and an entry point, and it is planned, run, kept and shown like ours."""

from __future__ import annotations

from pathlib import Path

import tiny_onnx
from running import CommandLine

from enginesmith.pipeline.job.manifest import Manifest

STAMP = '''
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.stage import MODEL, Stage


class StampOptions(Options):
    text: str


class StampFacts(Facts):
    bytes: int


class Stamp(Stage):
    """Counts the bytes of the graph that goes on."""

    name = "stamp"
    options = StampOptions
    facts = StampFacts
    follows = "FOLLOWS"
    packages = ("stamped",)

    def plan(self, recipe, so_far):
        yield PlannedStage(self.name, self.name, StampOptions(text="by a plug-in"), needs=so_far.needs("model"))

    def run(self, inputs, options, context):
        found = inputs["model"] / MODEL if inputs else None
        return StampFacts(bytes=found.stat().st_size if found else 0, note=options.text)
'''


def installed(folder: Path, version: str = "1", follows: str = "simplify") -> Path:
    """A distribution with the stage, as pip leaves it."""
    folder.mkdir()
    (folder / "stamped.py").write_text(STAMP.replace("FOLLOWS", follows))
    about = folder / f"stamped-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stamped\nVersion: {version}\n")
    (about / "entry_points.txt").write_text("[enginesmith.stages]\nstamp = stamped:Stamp\n")
    return folder


def test_it_is_planned_run_kept_and_shown(tmp_path, shared_store):
    model = tiny_onnx.linear(tmp_path / "net.onnx")
    arguments = ("build", str(model), "--backend", "tvm", "--measure", "0", "--out", str(tmp_path / "out"))
    shell = CommandLine(tmp_path, shared_store, {"PYTHONPATH": str(installed(tmp_path / "plugins"))})
    done = shell.run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "by a plug-in" in done.stdout
    manifest = (tmp_path / "out" / "manifest.json").read_text()
    ids = [stage.id for stage in Manifest.model_validate_json(manifest).stages]
    assert ids.index("stamp") == ids.index("simplify") + 1
    assert '"bytes": ' in manifest
    assert "by a plug-in" in (tmp_path / "out" / "report.html").read_text()
    assert shell.run(*arguments).returncode == 0
    newer = CommandLine(tmp_path, shared_store, {"PYTHONPATH": str(installed(tmp_path / "newer", "2"))})
    again = Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_text())
    assert newer.run(*arguments).returncode == 0
    anew = Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_text())
    status = {stage.id: stage.status for stage in anew.stages}
    assert {stage.status for stage in again.stages} == {"cached"}
    assert status["stamp"] == "built", "another version of the plug-in is another stage"
    assert status["simplify"] == "cached"


def test_it_may_come_before_the_model(tmp_path, shared_store):
    plugins = installed(tmp_path / "plugins", follows="import")
    shell = CommandLine(tmp_path, shared_store, {"PYTHONPATH": str(plugins)})
    done = shell.run("build", "mlp", "--backend", "tvm", "--measure", "0", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    manifest = Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_bytes())
    assert [stage.id for stage in manifest.stages][:2] == ["stamp", "export"]
    assert manifest.model.task == "classification"
    assert manifest.model.inputs


def test_one_that_is_broken_is_left_out_and_said_so(tmp_path, shared_store):
    plugins = installed(tmp_path / "plugins")
    (plugins / "stamped.py").write_text("import nowhere_to_be_found")
    model = tiny_onnx.linear(tmp_path / "net.onnx")
    shell = CommandLine(tmp_path, shared_store, {"PYTHONPATH": str(plugins)})
    done = shell.run("build", str(model), "--backend", "tvm", "--measure", "0", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    manifest = Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_bytes())
    assert "stamp" not in [stage.id for stage in manifest.stages]
    (told,) = (warning for warning in manifest.warnings if "stamp" in warning)
    assert "left out: No module named 'nowhere_to_be_found'" in told
