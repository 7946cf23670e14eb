"""The real command line with the real tools, from a model to engines."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import subprocess
import sys
import textwrap

import pytest
import tiny_onnx
from running import CommandLine

from enginesmith.converters.backends.tensorrt.gpu import local_gpus
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.stages.search import SearchFacts
from enginesmith.pipeline.job.manifest import Manifest

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None or bool(local_gpus()), reason="needs TensorRT-RTX and no GPU"
)


def statuses(manifest: Manifest) -> dict[str, str]:
    return {stage.id: stage.status for stage in manifest.stages}


@needs_rtx
def test_lenet_becomes_two_engines(lenet):
    assert (lenet.done.returncode, lenet.done.stderr) == (0, "")
    manifest = lenet.manifest
    assert manifest.success
    tvm, rtx = (next(e for e in manifest.engines if e.backend == name) for name in ("tvm", "tensorrt-rtx"))
    assert (tvm.verified, rtx.verified, rtx.verified_reason) == ("yes", "not run", "no GPU")
    assert (rtx.target, rtx.latency) == ("sm_86", None)
    assert tvm.latency is not None
    assert tvm.latency.engine_ms > 0
    assert tvm.latency.onnxruntime_ms > 0
    for engine in (tvm, rtx):
        path = lenet.folder / engine.path
        assert (hash_file(path), path.stat().st_size) == (engine.sha256, engine.size)
        assert sum(engine.layers_by_dtype.values()) == engine.layers > 5
        assert set(engine.layers_by_dtype) == {"float32"}


@needs_rtx
def test_the_manifest_tells_the_whole_story(lenet):
    manifest = lenet.manifest
    states = statuses(manifest)
    assert states.pop("compare tensorrt-rtx sm_86") == states.pop("measure tensorrt-rtx sm_86") == "not run"
    assert set(states.values()) == {"built"}
    assert (manifest.model.name, manifest.model.task) == ("lenet", "classification")
    assert manifest.model.inputs[0].shape == [1, 1, 28, 28]
    assert manifest.model.weights.origin in ("random", "model")
    assert manifest.recipe == {
        "model": "lenet",
        "backend": "tensorrt-rtx,tvm",
        "target": "sm_86,native",
        "measure": 0.2,
        "out": str(lenet.folder),
    }
    for stage in manifest.stages:
        ran = stage.status == "built"
        assert bool(stage.key and stage.tools and stage.log) == ran, stage.id
        assert (stage.seconds > 0.01 and stage.peak_memory_mb > 20) == ran, stage.id
        if stage.stage == "compare" and ran:
            assert stage.comparison.verdict == "pass"
            assert len(stage.comparison.samples) >= 3
            assert all(sample.classes.top1 == 1 for sample in stage.comparison.samples)
    assert next(stage for stage in manifest.stages if stage.id == "export").facts.nodes > 5


@needs_rtx
def test_lenet_in_half_precision(lenet):
    """Takes the export from the fp32 build, and has its engines' sizes beside its own."""
    out = lenet.folder.with_name("fp16")
    fp32 = lenet.folder.with_name("fp32")
    fp32.symlink_to(lenet.folder)
    arguments = ("lenet", "--precision", "fp16", "--backend", "tensorrt-rtx,tvm", "--target", "sm_86,native")
    done = lenet.shell.run("build", *arguments, "--measure", "0", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    manifest = Manifest.model_validate_json((out / "manifest.json").read_bytes())
    states = statuses(manifest)
    assert [states[id] for id in ("export", "compare export", "simplify", "compare simplify")] == ["cached"] * 4
    assert [states[id] for id in ("calibrate", "precision", "compare precision", "accuracy")] == ["built"] * 4
    stages = {stage.id: stage for stage in manifest.stages}
    assert stages["precision"].facts.lowering.products_by_dtype == {"float16": 5}
    assert "rounding where the graph does" in stages["compare precision"].comparison.found
    assert 0 < stages["compare precision"].comparison.samples[0].outputs[0].max_abs < 1e-3
    tvm, rtx = (next(e for e in manifest.engines if e.backend == name) for name in ("tvm", "tensorrt-rtx"))
    assert (tvm.verified, rtx.verified, rtx.verified_reason) == ("yes", "not run", "no GPU")
    assert (
        rtx.products_built
        == rtx.products_asked
        == {
            "convolutions": {"float16": 2},
            "matrix products": {"float16": 3},
        }
    )
    assert set(tvm.layers_by_dtype) == {"float32"}  # kernels for CPUs compute 16 bits in float32
    wide = {engine.backend: engine.size for engine in lenet.manifest.engines}
    assert (tvm.fp32_size, rtx.fp32_size) == (wide["tvm"], wide["tensorrt-rtx"])
    assert (out / "model.onnx").stat().st_size < 0.6 * (lenet.folder / "model.onnx").stat().st_size
    html = (out / "report.html").read_text()
    assert "asked 2 float16; in the network 2 float16" in html
    assert " in fp32" in html


@needs_rtx
def test_lenet_in_int8(lenet):
    """Quantized, proved by the parsed network, judged by a metric, and the loss within the user's budget."""
    out = lenet.folder.with_name("int8")
    arguments = ("lenet", "--precision", "int8", "--budget", "10%", "--backend", "tensorrt-rtx,tvm", "--measure", "0")
    done = lenet.shell.run("build", *arguments, "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    manifest = Manifest.model_validate_json((out / "manifest.json").read_bytes())
    stages = {stage.id: stage for stage in manifest.stages}
    assert stages["precision"].facts.lowering.products_by_dtype == {"int8": 5}
    accuracy = stages["accuracy"].facts.accuracy
    assert (accuracy.weak, accuracy.examples, accuracy.before, accuracy.budget) == (True, 32, 1.0, 0.1)
    assert 0.9 <= accuracy.after <= 1
    tvm, rtx = (next(e for e in manifest.engines if e.backend == name) for name in ("tvm", "tensorrt-rtx"))
    assert rtx.products_built == rtx.products_asked == {"convolutions": {"int8": 2}, "matrix products": {"int8": 3}}
    assert tvm.verified == "yes"
    assert "asked 2 int8; in the network 2 int8" in (out / "report.html").read_text()


def test_random_weights_in_int8(lenet):
    """No failure, whatever the budget, and nobody takes the engine for verified; the reason is said once."""
    out = lenet.folder.with_name("random")
    arguments = ("lenet", "--weights", "random", "--precision", "int8", "--budget", "0", "--backend", "tvm")
    done = lenet.shell.run("build", *arguments, "--measure", "0", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    manifest = Manifest.model_validate_json((out / "manifest.json").read_bytes())
    ((reason, verdict),) = ((engine.verified_reason, engine.verified) for engine in manifest.engines)
    assert (verdict, reason.split(":")[0]) == ("proves nothing", "random weights")
    assert done.stdout.count("random weights:") == 1
    assert "auto" not in done.stdout, "no advice to search"
    assert not any("lose" in warning for warning in manifest.warnings)
    assert "the comparison proves nothing: random weights" in (out / "report.html").read_text()


@needs_rtx
def test_lenet_within_a_budget(lenet):
    """A search may take no more than was allowed, or it has failed; its graph is there all the same."""
    out = lenet.folder.with_name("auto")
    arguments = ("lenet", "--precision", "auto", "--metric", "cosine", "--evaluated", "8", "--backend", "tensorrt-rtx")
    done = lenet.shell.run("build", *arguments, "--budget", "1%", "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    manifest = Manifest.model_validate_json((out / "manifest.json").read_bytes())
    ((_, facts),) = manifest.told(SearchFacts)
    search = facts.search
    assert [candidate.chosen for candidate in search.candidates].count(True) == 1
    chosen = next(candidate for candidate in search.candidates if candidate.chosen)
    assert chosen.within
    assert chosen.loss <= 0.01
    assert set(search.precisions.values()) <= {"int8", "fp16", "fp32"}


@needs_rtx
def test_a_budget_that_nothing_meets(lenet, tmp_path):
    """Exit 1, the best that was found, and by how much it misses."""
    (tmp_path / "metric.py").write_text(
        "def closeness(outputs, targets):\n"
        "    return -max(abs(o['output'] - t['output']).max() for o, t in zip(outputs, targets))\n"
    )
    metric = f"{tmp_path / 'metric.py'}:closeness"
    arguments = ("lenet", "--precision", "auto", "--metric", metric, "--evaluated", "8", "--backend", "tensorrt-rtx")
    done = lenet.shell.run("build", *arguments, "--budget", "0", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (1, "")
    manifest = Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_bytes())
    ((stage, facts),) = manifest.told(SearchFacts)
    assert stage.status == "failed"
    assert "0.0000 allowed" in stage.error
    assert "larger BUDGET" in stage.remedy
    assert not any(candidate.chosen for candidate in facts.search.candidates)
    assert facts.accuracy.loss == min(candidate.loss for candidate in facts.search.candidates)
    assert not manifest.engines


@needs_rtx
def test_what_is_shown_and_written(lenet):
    out = lenet.done.stdout
    lines = out.splitlines()
    assert sum(line.startswith("[") and line.endswith(" ...") for line in lines) == 8
    assert any(line.startswith("tvm") and "yes: max difference" in line for line in lines)
    assert any(line.startswith("tensorrt-rtx") and "not run: no GPU" in line for line in lines)
    assert "\x1b" not in out
    shown = [line.split(maxsplit=1)[1] for line in lines if line.startswith(("engine  ", "manifest", "report"))]
    assert {"out/manifest.json", "out/report.html"} < set(shown[1:]), "relative to where the user is"
    html = (lenet.folder / "report.html").read_text()
    assert "</html>" in html
    assert "lenet" in html
    assert not list(lenet.folder.rglob("*.tmp"))
    events = [json.loads(line) for line in (lenet.folder / "logs" / "events.jsonl").read_text().splitlines()]
    assert {"start", "built", "not run"} <= {event["event"] for event in events}


def test_the_second_run_takes_all_from_the_store_and_loads_no_framework(tiny):
    code = f"""
import sys
sys.argv = ["enginesmith", *{tiny.again!r}]
from enginesmith.pipeline.cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *sorted({{"torch", "tvm", "tensorrt_rtx", "tensorrt", "onnx", "onnxruntime"}} & set(sys.modules)))
"""
    assert tiny.done.returncode == 0, tiny.done
    first = tiny.manifest
    environment = {**os.environ, "ENGINESMITH_STORE": str(tiny.shell.store)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tiny.shell.folder, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "loaded:"
    second = tiny.manifest
    assert set(statuses(second).values()) == {"cached"}
    assert [engine.sha256 for engine in second.engines] == [engine.sha256 for engine in first.engines]
    assert [stage.seconds for stage in second.stages] == [stage.seconds for stage in first.stages]


def test_json_is_the_manifest_and_nothing_else(tiny):
    done = tiny.shell.run(*tiny.again, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert Manifest.model_validate_json(done.stdout) == tiny.manifest


def test_another_folder_gets_the_same_files_from_the_store(tiny, tmp_path):
    shell = CommandLine(tmp_path, tiny.shell.store)
    assert shell.run(*tiny.again[:-2]).returncode == 0
    (engine,) = tiny.manifest.engines
    assert hash_file(tmp_path / "build" / "tiny" / "fp32" / engine.path) == engine.sha256
    assert (tmp_path / "build" / "tiny" / "fp32" / "model.onnx").is_file()


def test_results_are_copies_that_cannot_damage_the_store(tiny, tmp_path):
    shell = CommandLine(tmp_path, tiny.shell.store)
    shell.run(*tiny.again[:-2])
    results = tmp_path / "build" / "tiny" / "fp32"
    (engine,) = tiny.manifest.engines
    (results / engine.path).write_bytes(b"edited")
    done = shell.run(*tiny.again[:-2], "--json")
    assert set(statuses(Manifest.model_validate_json(done.stdout)).values()) == {"cached"}
    assert hash_file(results / engine.path) == engine.sha256


def test_two_runs_at_once_build_each_stage_once(tmp_path):
    """Into one folder, too."""
    shell = CommandLine(tmp_path, tmp_path / "store")
    tiny_onnx.linear(tmp_path / "net.onnx", width=6)
    arguments = ("build", "net.onnx", "--backend", "tvm", "--measure", "0", "--no-simplify", "--json")
    with shell.start(*arguments) as first, shell.start(*arguments) as second:
        answers = [process.communicate(timeout=200) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], answers
    one, other = (statuses(Manifest.model_validate_json(out)) for out, _ in answers)
    assert len(one) == 4
    for stage, status in one.items():
        assert {status, other[stage]} == {"built", "cached"}, stage
    written = Manifest.model_validate_json((tmp_path / "build/net/fp32/manifest.json").read_bytes())
    assert hash_file(tmp_path / "build/net/fp32" / written.engines[0].path) == written.engines[0].sha256


@pytest.fixture
def noise(tmp_path):
    return str(tiny_onnx.random(tmp_path / "noise.onnx"))


def test_a_mismatch_stops_the_build(enginesmith, noise, tmp_path):
    answer = enginesmith("build", noise, "--backend", "tvm", "--out", "out")
    assert answer.status == 1
    assert "compare import: sample" in answer.out
    manifest = Manifest.model_validate_json((tmp_path / "out/manifest.json").read_bytes())
    assert not manifest.success
    states = statuses(manifest)
    assert (states.pop("import"), states.pop("compare import")) == ("built", "failed")
    assert set(states.values()) == {"skipped"}
    assert manifest.engines == []
    assert manifest.stages[2].error == "comes after compare import, which failed"
    assert "the graph answers the same input differently" in answer.out
    assert "differs by" in manifest.stages[1].error


def test_keep_going_records_the_mismatch_and_goes_on(enginesmith, noise, tmp_path):
    flags = ("--keep-going", "--measure", "0", "--no-simplify")
    answer = enginesmith("build", noise, "--backend", "tvm", "--out", "out", *flags)
    assert answer.status == 1
    manifest = Manifest.model_validate_json((tmp_path / "out/manifest.json").read_bytes())
    states = list(statuses(manifest).values())
    assert states[:2] == ["built", "failed"]
    assert states[2] != "skipped", "the compilation"
    assert not manifest.success


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statements", "told", "shown"),
    [
        ("self.calls += 1.0; return x * self.calls", "the answer depends on earlier calls", "differs by"),
        ("return x * 2 if x.sum() > 0 else x * -3", "Python takes a bool from the model's data", "sample "),
        ("return x[:, : 1 + int(x.abs().sum()) % 4] * 2", "Python takes a number from the model's data", "has shape"),
    ],
    ids=["state", "branch", "size"],
)
def test_what_one_run_did_fails_or_is_allowed_and_never_verified(enginesmith, tmp_path, statements, told, shown):
    """With the flag the difference from the model is told, and the build goes on to an engine."""
    (tmp_path / "baked.py").write_text(
        textwrap.dedent(f"""
            from torch import nn

            class Baked(nn.Module):
                calls = 0.0

                def forward(self, x):
                    {statements}

            def make():
                return Baked()
        """)
    )
    arguments = ("--shape", "2x4", "--exporter", "torchscript", "--backend", "tvm", "--measure", "0", "--no-simplify")
    answer = enginesmith("build", "baked.py:make", *arguments, "--out", "out")
    assert answer.status == 1, answer
    manifest = Manifest.model_validate_json((tmp_path / "out/manifest.json").read_bytes())
    assert next(stage.id for stage in manifest.stages if stage.status == "failed") == "export"
    assert f"export: {told}" in answer.out
    assert str(tmp_path / "out" / "logs" / "export.log") in answer.out
    answer = enginesmith("build", "baked.py:make", *arguments, "--allow-baked", "--out", "out")
    assert answer.status == 0, answer
    manifest = Manifest.model_validate_json((tmp_path / "out/manifest.json").read_bytes())
    comparison = next(stage.comparison for stage in manifest.stages if stage.id == "compare export")
    assert comparison.verdict == "differs"
    assert shown in comparison.reason
    (engine,) = manifest.engines
    assert (tmp_path / "out" / engine.path).is_file()
    assert engine.verified == "no"
    assert told in engine.verified_reason
    assert "no: baked in: " in answer.out
    assert told in html.unescape((tmp_path / "out/report.html").read_text())


def test_a_full_disk_for_the_store(enginesmith, small_disk, tmp_path):
    model = tiny_onnx.linear(tmp_path / "wide.onnx", width=256)
    disk = small_disk("200k")
    answer = enginesmith("build", str(model), "--backend", "tvm", "--store", str(disk), "--out", "out")
    assert answer.status == 1, answer
    assert f"no space left on the disk of {disk}" in answer.out
    assert "Traceback" not in answer.out + answer.err
    assert enginesmith("cache", "verify", "--store", str(disk)).out == "0 artifacts are whole\n"


def test_a_full_disk_for_the_results(enginesmith, small_disk, tiny):
    disk = small_disk("16k")
    answer = enginesmith(*tiny.again[:-2], "--out", str(disk / "out"))
    assert answer.status == 1, answer
    (line,) = answer.err.splitlines()
    assert line.startswith("enginesmith: no space left on the disk of ")
    assert enginesmith("cache", "verify").status == 0
