"""Every model of the zoo is there; the slow tests build each one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from enginesmith.converters.torch_models.source import load_model
from enginesmith.pipeline.job.shapes import format_shapes, parse_shapes
from enginesmith.pipeline.job.source import resolve_source
from enginesmith.pipeline.job.zoo import zoo


@pytest.mark.parametrize("name", zoo())
def test_entry(name: str) -> None:
    entry = zoo()[name]
    source = resolve_source(name)
    assert (source.name, source.task, source.shape) == (name, entry.task, entry.shape)
    specs = parse_shapes(entry.shape)
    assert parse_shapes(format_shapes(specs)) == specs
    assert specs[0].name, "engines have named inputs"
    if source.kind == "torchvision":
        from torchvision import models

        assert source.ref in models.list_models()
        assert len(models.get_model_weights(source.ref)), "has pretrained weights"
    elif source.kind == "timm":
        import timm

        assert timm.is_model_pretrained(source.ref)
    else:
        assert source.kind == "factory-module"
        module = load_model(source.kind, source.ref, None, "auto", trust=False, seed=0).module
        import torch

        with torch.no_grad():
            made = module(torch.zeros(specs[0].opt))
        if entry.task == "detection":
            assert made[0].keys() == {"boxes", "scores", "labels"}
        else:
            assert made.shape == (specs[0].opt[0], 10)


def test_about_is_one_line() -> None:
    for entry in zoo().values():
        assert entry.about == " ".join(entry.about.split())
        assert len(entry.about) < 70


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", zoo())
def test_build(name: str, tmp_path: Path) -> None:
    """From PyTorch to an engine by the real command line; without a GPU the engine itself is not run."""
    command = [sys.executable, "-m", "enginesmith"]
    script = Path(sys.executable).with_name("enginesmith")
    flags = ["--backend", "tensorrt-rtx", "--target", "sm_89", "--measure", "0", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*([str(script)] if script.exists() else command), "build", name, *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    verdicts = [
        comparison["verdict"] for stage in manifest["stages"] if (comparison := stage["facts"].get("comparison"))
    ]
    assert verdicts == ["pass", "pass"], "export and simplify, against PyTorch and against the export"
    (engine,) = manifest["engines"]
    assert engine["backend"] == "tensorrt-rtx"
    assert engine["size"] > 10_000
    assert (tmp_path / "out" / engine["path"]).stat().st_size == engine["size"]
    assert engine["verified"] != "no"
