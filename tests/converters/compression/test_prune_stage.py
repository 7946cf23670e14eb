"""The stage, and the export that takes its cut."""

from __future__ import annotations

from pathlib import Path

import onnx
import stages

from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.stages.export import Export, ExportOptions
from enginesmith.converters.stages.prune import Prune, PruneOptions

JOB = """
import torch

def factory():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3), torch.nn.BatchNorm2d(32), torch.nn.ReLU(), torch.nn.Conv2d(32, 5, 1)
    ), torch.randn(1, 3, 8, 8)
"""


def test_the_graph_has_what_is_left(tmp_path: Path) -> None:
    job = tmp_path / "pruned_job.py"
    job.write_text(JOB)
    stages.export(tmp_path / "original", "factory", path=job)
    model = {"kind": "factory-file", "ref": "factory", "path": job, "sha256": hash_file(job), "weights": "auto"}
    model |= {
        "weights_sha256": "",
        "trust": False,
        "seed": 0,
        "stock": False,
        "proposals": None,
        "inputs": (),
        "task": "auto",
    }
    options = PruneOptions.model_validate(model | {"ratio": 0.5, "importance": "l1"})
    facts = Prune().run({"samples": tmp_path / "original"}, options, stages.context(tmp_path / "pruned"))
    assert facts.pruning is not None
    assert [(group.name, group.cut) for group in facts.pruning.groups] == [("0", 16)]
    assert [finding.node for finding in facts.findings] == ["3"]
    exporting = ExportOptions.model_validate(model | {"exporter": "auto", "opset": 18, "samples": 2})
    made = Export().run({"finetuned": tmp_path / "pruned"}, exporting, stages.context(tmp_path / "export"))
    assert made.weights.detail.startswith("pruned from model weights")
    initializers = onnx.load(tmp_path / "export" / MODEL).graph.initializer
    assert (16, 3, 3, 3) in {tuple(each.dims) for each in initializers}
