"""Assignment through masks, against PyTorch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operators_support import exported_holds, holds
from torch import nn

from enginesmith.converters.torch_models.capture import capture
from enginesmith.converters.torch_models.operators import replacing

aten = torch.ops.aten


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_assignment_through_a_mask(data):
    """A mask of any rank, at any axis, with values for all, for each place, or one; none, some or all places true."""
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    before = data.draw(st.integers(0, len(shape) - 1))
    rank = data.draw(st.integers(1, len(shape) - before))
    x = torch.randn(shape)
    mask = torch.rand(shape[before : before + rank]) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    after = shape[before + rank :]
    places = int(mask.sum())
    leading = data.draw(st.sampled_from([[], [1], [places], [*shape[:before], places], [*shape[:before], 1]]))
    values = torch.randn([*leading, *after]) if data.draw(st.booleans()) or leading else torch.tensor(3.0)
    holds(aten.index_put.default, x, [None] * before + [mask], values, data.draw(st.booleans()))


def test_masked_scatter():
    x = torch.randn(4, 5, 3)
    for mask in (x > 0, x > 9, (x[..., :1] > 0).expand(4, 5, 3), x[..., :1] > 0, x[0] > 0):
        holds(aten.masked_scatter.default, x, mask, torch.randn(60))
        holds(aten.masked_scatter.default, x, mask, torch.randn(20, 3))


class Clip(nn.Module):
    def forward(self, x):
        y = x * 2
        y[y < 0] = -1.0
        return y


def test_a_number_through_a_mask_has_no_size_that_depends_on_the_data():
    with replacing():
        program = torch.onnx.export(capture(Clip(), (torch.randn(4, 5),), None), dynamo=True, verbose=False)
    assert program is not None
    assert {node.op_type for node in program.model.graph} == {"Mul", "Less", "Where"}


class Fill(nn.Module):
    def forward(self, x, mask, rows):
        y = x.clone()
        y[mask] += rows[mask]
        return y, x.masked_scatter(mask[:, None], rows)


@pytest.mark.parametrize("truth", [0.0, 0.5, 1.0])
def test_values_by_number_as_a_graph_of_any_size(truth):
    n = torch.export.Dim("n", max=50)
    torch.manual_seed(0)
    mask = torch.rand(6) < truth
    exported_holds(Fill(), torch.randn(6, 3), mask, torch.randn(6, 3), dynamic_shapes=({0: n}, {0: n}, {0: n}))
