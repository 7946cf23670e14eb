"""Models in half, bfloat16 and float64: what the graph takes and gives, and what it is held to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from export_models import imports
from stages import compare, export, import_onnx, load_samples

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import TRIED, load_beside, save_results

__all__ = ["imports"]  # a fixture

MODELS = """
import torch
from torch import nn

def net(): return nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4))

def half(): return net().half(), torch.randn(3, 16).half()

def brain(): return net().bfloat16(), torch.randn(3, 16).bfloat16()

def double(): return nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh()).double(), torch.randn(1, 2, 9).double()

class Inside(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 8))
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return (x @ self.weight).float().softmax(-1)
def inside(): return Inside(), torch.randn(3, 16)

class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 8).half())
    def forward(self, x):
        return torch.ones(2, 16) @ self.weight + x.sum()
def mixed(): return Mixed(), torch.randn(3, 16).half()
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "types_of_test.py"
    path.write_text(MODELS)
    return path


@pytest.mark.parametrize(
    ("factory", "border", "own", "told"),
    [
        ("half", "float16", "fp16", ""),
        ("brain", "float32", "bf16", "float32 stands for bfloat16"),
        ("double", "float64", "fp32", "no kernel for Conv in float64"),
        ("inside", "float32", "bf16", "no kernel for"),
    ],
)
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_types(tmp_path: Path, models: Path, factory: str, border: str, own: str, told: str, exporter: str) -> None:
    out = tmp_path / "out"
    facts = export(out, factory, path=models, exporter=exporter)
    assert [info.dtype for info in (*facts.inputs, *facts.outputs)] == [border, border]
    samples, feeds = load_samples(out)
    assert samples.own == own
    assert {array.dtype.name for feed in feeds for array in feed.values()} == {border}
    assert told in " ".join(facts.warnings)
    comparison = compare(tmp_path / "compared", out)
    assert comparison.verdict == "pass", comparison.reason


GRAPHS = {
    "half": (
        '<ir_version: 8, opset_import: ["" : 18]> g (float16[2,8] x) => (float16[2,8] y) '
        "{ a = Tanh (x) b = Mul (a, a) y = Add (b, x) }",
        "fp16",
    ),
    "double": (
        '<ir_version: 8, opset_import: ["" : 18]> g (double[1,1,9] x, double[1,1,3] w) => (double[1,1,7] y) '
        "{ y = Conv (x, w) }",
        "fp32",
    ),
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_types_of_a_graph_as_given(tmp_path: Path, kind: str) -> None:
    text, own = GRAPHS[kind]
    onnx.save(onnx.parser.parse_model(text), tmp_path / "given.onnx")
    facts = import_onnx(tmp_path / "out", tmp_path / "given.onnx")
    samples, _ = load_samples(tmp_path / "out")
    assert samples.own == own
    assert ("no kernel for Conv in float64" in " ".join(facts.warnings)) == (kind == "double")


def test_a_wrong_half_graph_is_no_match(tmp_path: Path, models: Path) -> None:
    """The wider tolerance doesn't take everything."""
    out = tmp_path / "out"
    export(out, "half", path=models)
    outputs = load_beside(out, TRIED)
    wrong = [{name: (array * np.float16(1.06)).astype(array.dtype) for name, array in each.items()} for each in outputs]
    save_results(out, "ONNX Runtime", wrong, TRIED)
    assert compare(tmp_path / "compared", out).verdict == "fail"


def test_mixed_types_are_told_with_the_line(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UserError, match=r"types_of_test\.py:\d+: return torch\.ones\(2, 16\) @ self\.weight") as caught:
        export(tmp_path / "out", "mixed", path=models)
    assert "export it in float32" in str(caught.value)
    assert "give another SHAPE" not in str(caught.value)
