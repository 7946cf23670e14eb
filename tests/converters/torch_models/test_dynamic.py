"""Ranges of sizes in `torch.export`: linked ones stay linked, and unequal first axes unequal."""

from __future__ import annotations

from pathlib import Path

import pytest
from stages import compare, export

from enginesmith.converters.torch_models.dynamic import axis_names, export_dims, traced_shapes
from enginesmith.pipeline.job.shapes import parse_shapes

MODELS = """
import torch
from torch import nn

class Add(nn.Module):
    def forward(self, x, y):
        return x + y

class Apart(nn.Module):
    def forward(self, x, y):
        return x.sum(1), y.sum(1)

class Cache(nn.Module):
    def forward(self, x, past, mask):
        keys = torch.cat([past, x], 1)
        return (x @ keys.transpose(1, 2) + mask).softmax(-1) @ keys

class Pairs(nn.Module):
    def forward(self, x):
        n, c, h, w = x.shape
        return x.view(n, c, h // 2, 2, w).sum(3)
"""


@pytest.mark.parametrize(
    ("shape", "sizes", "names"),
    [
        ("x:1..1..8x3", {"x": (2, 3)}, [{0: "batch"}]),
        ("x:1..1..8x3 y:1..4..8", {"x": (2, 3), "y": (4,)}, [{0: "x_0"}, {0: "y_0"}]),
        (
            "x:{s=1..1..8} y:{s+p} z.k:{p=0..1..9}x5",
            {"x": (2,), "y": (4,), "z.k": (2, 5)},
            [{0: "s"}, {0: "s_p"}, {0: "p"}],
        ),
        ("x:{2*b}x{b=1..3..8}", {"x": (6, 3)}, [{0: "2_b", 1: "b"}]),
    ],
)
def test_names_and_sizes_to_trace_with(shape: str, sizes: object, names: object) -> None:
    specs = parse_shapes(shape)
    assert traced_shapes(specs) == sizes
    assert axis_names(specs) == names


def test_what_a_dim_can_say() -> None:
    dims = export_dims(parse_shapes("x:{s=1..4..8}x{2*s}x{s+1} y:{s+p}x{p=1..2..3}"))
    assert [str(dim) for dim in dims[0].values()] == ["Dim('s', min=1, max=8)", "2*s", "s + 1"]
    assert "AUTO" in str(dims[1][0])


@pytest.mark.parametrize(
    ("factory", "shape", "inputs"),
    [
        ("Add", "x:1..4..16x3 y:1..4..16x3", [["batch", 3], ["batch", 3]]),
        ("Apart", "x:1..4..16x3 y:1..4..16x3", [["x_0", 3], ["y_0", 3]]),
        (
            "Cache",
            "x:1x1..1..16x8 past:1x0..10..100x8 mask:1x1..1..16x1..11..116",
            [[1, "x_1", 8], [1, "past_1", 8], [1, "x_1", "x_1 + past_1"]],
        ),
        ("Pairs", "x:1x3x4..8..32x8", [[1, 3, "4*_x_2", 8]]),
    ],
)
def test_a_model_is_exported_with_the_relations_that_it_needs(
    factory: str, shape: str, inputs: object, tmp_path: Path
) -> None:
    (tmp_path / "models.py").write_text(MODELS)
    facts = export(tmp_path / "out", factory, path=tmp_path / "models.py", shape=shape)
    assert facts.note == "dynamo"
    assert [info.shape for info in facts.inputs] == inputs
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass"
    assert {"min size", "max size", "unseen size"} <= {sample.sample for sample in comparison.samples}
