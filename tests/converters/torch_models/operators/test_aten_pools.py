"""Pools of any size, against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
FORMS = [
    ((2, 3, 11), [4]),
    ((3, 10), [5]),
    ((2, 3, 3), [7]),
    ((1, 2, 7, 9), [3, 4]),
    ((1, 2, 7, 9), [3, 3]),
    ((2, 7, 9), [1, 1]),
    ((1, 2, 3, 4), [1, 7]),
    ((1, 2, 5, 6, 7), [2, 3, 4]),
]


@pytest.mark.parametrize(("shape", "size"), FORMS)
def test_adaptive(shape, size):
    mean = getattr(aten, f"adaptive_avg_pool{len(size)}d").default
    greatest = getattr(aten, f"adaptive_max_pool{len(size)}d").default
    x = torch.randn(shape)
    holds(mean, x, size)
    holds(greatest, x, size)
    holds(greatest, x.round(), size)
    x.view(-1)[3], x.view(-1)[5] = torch.nan, torch.inf
    holds(mean, x, size)
    holds(greatest, x, size)


def test_a_mean_of_planes_is_no_window():
    """Squeeze and excitation: as a window it was unrolled element by element by what compiles engines."""
    model = exported_holds(nn.AdaptiveAvgPool2d(1), torch.randn(1, 3, 8, 9), normwise=True)
    assert not any("AveragePool" in node.op_type for node in model.graph.node)


def test_fractional():
    holds(aten.fractional_max_pool2d.default, torch.randn(2, 3, 7, 9), [2, 3], [3, 4], torch.rand(2, 3, 2))
    holds(aten.fractional_max_pool2d.default, torch.randn(3, 7, 9), [2, 3], [3, 1], torch.rand(1, 3, 2))
    holds(aten.fractional_max_pool3d.default, torch.randn(2, 3, 7, 9, 6), [2, 3, 2], [3, 4, 2], torch.rand(2, 3, 3))


class Pyramid(nn.Module):
    def forward(self, x):
        return F.adaptive_avg_pool2d(x, (3, None)), *F.adaptive_max_pool2d(x, (2, 5), return_indices=True)


def test_adaptive_of_any_size():
    h, w = torch.export.Dim("h", max=20), torch.export.Dim("w", max=30)
    others = [(torch.randn(1, 2, *size),) for size in ((7, 11), (2, 4), (1, 5))]
    exported_holds(Pyramid(), torch.randn(1, 2, 8, 10), dynamic_shapes=({2: h, 3: w},), others=others)


@pytest.mark.parametrize(
    "form", [([3, 3], [1, 1], [1, 1]), ([4, 4], [2, 3], [1, 1]), ([2], [3], [0]), ([3, 2], [], [1, 0])]
)
@pytest.mark.parametrize("ceil", [False, True])
def test_means_by_a_divisor_of_ones_own(form, ceil):
    kernel, stride, padding = form
    for axes, operator in ((2, aten.avg_pool2d.default), (3, aten.avg_pool3d.default)):
        wide = [[*part, *part[:1]] if axes == 3 and len(part) == 2 else part for part in (kernel, stride, padding)]
        for include in (False, True):
            holds(operator, torch.randn(1, 2, *[9, 8, 7][:axes]), *wide, ceil, include, 5)
            holds(operator, torch.randn(2, *[6, 9, 5][:axes]), *wide, ceil, include, 1)
