"""What the exporter's own rewrites and ONNX's defaults would change of small and infinite numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.torch_models.exporters import DYNAMO, Exporter, Road

SPECIAL = np.array([[0.0, 1e-9, -1e-7, 1.5, np.inf, -np.inf, 3e38, -2.0]], np.float32)


class Fn(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 1 / (x + 1e-8),
        lambda x: (x - 1e-9) / (x * 1.000001),
        lambda x: x.clamp(min=0.25),
        lambda x: x.clamp(max=0.25),
        lambda x: x.clamp(-1, 1),
    ],
    ids=["eps", "nearly one", "from below", "from above", "both"],
)
def test_a_graph_computes_what_the_model_says(function: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    exporter = Exporter(Fn(function).eval(), [InputSpec.static("x", (1, 8))], ["y"], OrderedDict(x=SPECIAL))
    path = tmp_path / "model.onnx"
    exporter.write(Road(DYNAMO, 18), path)
    onnx.checker.check_model(str(path))
    (found,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": SPECIAL})
    np.testing.assert_allclose(found, function(torch.from_numpy(SPECIAL)).numpy(), rtol=1e-6)
