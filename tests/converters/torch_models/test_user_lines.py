"""The model's own line behind what torch raises."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.torch_models.exporters import DYNAMO, TORCHSCRIPT, Exporter, Road
from enginesmith.converters.torch_models.failures import Failure, of_exporter


class Fn(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def lacking(x: Tensor) -> Tensor:
    y = x + 1
    return torch.linalg.eig(y)[1].real


def solved(x: Tensor) -> Tensor:
    return torch.linalg.lstsq(x, x).solution


def guarded(x: Tensor) -> Tensor:
    return x * 2 if x.sum() > 0 else x


def counted(x: Tensor) -> Tensor:
    for _ in range(int(x.max())):
        x = x * 2
    return x


def outside(x: Tensor) -> Tensor:
    return torch.from_numpy(np.linalg.eigvals(x.numpy()).real)


def failure(function: Callable[[Tensor], Tensor], tool: str, path: Path) -> Failure:
    exporter = Exporter(
        Fn(function).eval(), [InputSpec.static("x", (3, 3))], ["y"], OrderedDict(x=np.ones((3, 3), np.float32))
    )
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the exporter raises
        exporter.write(Road(tool, 18), path / "model.onnx")
    return of_exporter(caught.value)


@pytest.mark.parametrize("tool", [DYNAMO, TORCHSCRIPT])
def test_an_operator_without_a_translation_is_named_with_its_line(tool: str, tmp_path: Path) -> None:
    found = failure(lacking, tool, tmp_path)
    assert found.operator == "aten.linalg_eig"
    assert found.line.startswith("test_user_lines.py:")
    assert found.line.endswith(": return torch.linalg.eig(y)[1].real")
    assert found.told == f"{found.reason} ({found.line})"
    assert "\n" not in found.told
    assert found.remedy


@pytest.mark.parametrize(("function", "operator"), [(lacking, "aten.linalg_eig"), (solved, "aten.linalg_lstsq")])
def test_what_no_graph_has_ends_the_search_with_what_to_write(
    function: Callable[[Tensor], Tensor], operator: str, tmp_path: Path
) -> None:
    found = failure(function, DYNAMO, tmp_path)
    assert found.final
    assert found.reason.startswith(f"{operator}: ")
    assert "torch.linalg." in found.remedy
    assert not failure(outside, DYNAMO, tmp_path).final


@pytest.mark.parametrize(
    ("function", "reason", "line"),
    [
        (guarded, "data decides whether", "return x * 2 if x.sum() > 0 else x"),
        (counted, "data decides whether", "for _ in range(int(x.max())):"),
        (outside, "RuntimeError", "return torch.from_numpy(np.linalg.eigvals(x.numpy()).real)"),
    ],
)
def test_python_that_is_not_followed(
    function: Callable[[Tensor], Tensor], reason: str, line: str, tmp_path: Path
) -> None:
    found = failure(function, DYNAMO, tmp_path)
    assert found.reason.startswith(reason)
    assert found.line.endswith(line)
    assert "torch.where" in found.remedy
