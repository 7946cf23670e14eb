"""A build with `--tune`: from the command line to the engine, and a second one that goes on from the first."""

from __future__ import annotations

from pathlib import Path

import tiny_onnx
from running import CommandLine

from enginesmith.converters.stages.tune import TuneFacts
from enginesmith.pipeline.job.manifest import Manifest, StageRecord


def test_a_tuned_build_and_the_next_one(tmp_path: Path) -> None:
    tiny_onnx.linear(tmp_path / "good.onnx", width=32)
    shell = CommandLine(tmp_path, tmp_path / "store")

    def build(budget: str) -> tuple[Manifest, StageRecord]:
        flags = (
            "--backend",
            "tvm",
            "--no-simplify",
            "--samples",
            "1",
            "--measure",
            "0",
            "--threads",
            "1",
            "--out",
            "out",
        )
        done = shell.run("build", "good.onnx", *flags, "--tune", budget)
        assert done.returncode == 0, done.stdout + done.stderr
        manifest = Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_bytes())
        ((stage, facts),) = manifest.told(TuneFacts)
        return manifest, stage, facts.tuning

    manifest, tune, first = build("1s")
    assert first.measurements > 0
    assert [kernel.kernel for kernel in first.kernels] == ["product, 1x32 by 32x32"]
    assert manifest.engines[0].verified == "yes"
    assert next(stage for stage in manifest.stages if stage.stage == "compile").needs["tuned"] == tune.id
    assert "Predicted from the kernels alone" in (tmp_path / "out" / "report.html").read_text()
    _, _, more = build("0.02m")
    assert more.remembered >= first.measurements
    assert more.database == first.database
    _, again, _ = build("0.02m")
    assert again.status == "cached"
