"""The static detectors' own suppression and selection, exported as they are, against ONNX Runtime."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxsim
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from enginesmith.converters.torch_models.detectors.nms import GreedySelection, GroupedSuppression

QUICK = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def same(with_tvm: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Export a module and check that TVM's results are ONNX Runtime's to the last bit. Returns the kernels used."""

    def check(module: nn.Module, *inputs: Tensor) -> dict[str, int]:
        import onnxruntime

        folder: Path = tmp_path_factory.mktemp("model")
        names = [f"input{index}" for index in range(len(inputs))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, inputs, str(folder / "raw.onnx"), dynamo=False, opset_version=18, input_names=names
            )
        simplified, correct = onnxsim.simplify(onnx.load(folder / "raw.onnx"))
        assert correct
        onnx.save(simplified, folder / "model.onnx")
        feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        np.savez(folder / "feed.npz", **feed)
        told = with_tvm.call("compiled:run", str(folder), timeout=120)
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        with np.load(folder / "found.npz") as found:
            for expected, key in zip(session.run(None, feed), found.files, strict=True):
                np.testing.assert_array_equal(found[key], expected)
        kernels: dict[str, int] = told["kernels"]
        return kernels

    return check


def boxes_of(generator: torch.Generator, *shape: int, size: float) -> Tensor:
    """Boxes [..., 4], many of which overlap; some without an area, some equal."""
    corner = torch.randint(0, 12, (*shape, 2), generator=generator).float()
    extent = torch.randint(0, 12, (*shape, 2), generator=generator).float() * size
    return torch.cat((corner, corner + extent), dim=-1)


def test_grouped_suppression(same: Any) -> None:
    @QUICK
    @given(groups=st.integers(1, 3), count=st.integers(33, 64), threshold=st.sampled_from([0.0, 0.45, 0.7]))
    def property_holds(groups: int, count: int, threshold: float) -> None:
        generator = torch.Generator().manual_seed(count)
        boxes = boxes_of(generator, groups, count, size=1.0)
        valid = torch.rand(groups, count, generator=generator) > 0.2
        told = same(GroupedSuppression(threshold), boxes, valid)
        assert told["rounds"] == 1
        assert told["suppression"] >= 3

    property_holds()


def test_greedy_selection(same: Any) -> None:
    @QUICK
    @given(count=st.integers(4, 70), wanted=st.integers(2, 6), threshold=st.sampled_from([0.0, 0.5]))
    def property_holds(count: int, wanted: int, threshold: float) -> None:
        """Fewer candidates than are wanted, too: nothing is left then. Scores tie."""
        generator = torch.Generator().manual_seed(count)
        boxes = boxes_of(generator, 1, count, size=1.0)
        scores = torch.randint(-2, 9, (1, count), generator=generator).float() / 8
        labels = torch.randint(1, 3, (1, count), generator=generator)
        told = same(GreedySelection(threshold, wanted), boxes, scores, labels)
        assert told["removal"] == wanted - 1
        assert told["argmax"] == wanted

    property_holds()


@pytest.mark.parametrize("columns", [1, 3, 7, 67, 200])
def test_the_first_of_the_largest(same: Any, columns: int) -> None:
    """Ties, infinities, and rows of nothing but the least."""

    class Largest(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.argmax(dim=-1), x.argmax(dim=-1, keepdim=True)

    rows = torch.randint(-3, 3, (5, columns), generator=torch.Generator().manual_seed(columns)).float()
    rows[1] = -torch.inf
    rows[2, columns // 2 :] = torch.inf
    same(Largest(), rows)
