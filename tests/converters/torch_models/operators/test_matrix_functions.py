"""Powers and exponentials of matrices, against PyTorch's own."""

import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten


def test_exponentials():
    for scale in (0.0, 1e-3, 0.3, 1.0, 3.0):
        for shape in ((1, 1), (4, 3, 3), (2, 2, 7, 7), (0, 3, 3)):
            holds(aten.linalg_matrix_exp.default, torch.randn(shape) * scale)
    turn = torch.randn(5, 3, 3) * 10
    holds(aten.matrix_exp.default, turn - turn.mT)


def test_powers():
    matrix = torch.randn(2, 3, 3) / 2 + torch.eye(3) * 2
    for n in (-3, -1, 0, 1, 2, 3, 7, 12):
        holds(aten.linalg_matrix_power.default, matrix, n)


def test_as_a_graph_of_any_batch():
    class Turn(nn.Module):
        def forward(self, x):
            return torch.matrix_exp(x - x.mT), torch.linalg.matrix_power(x, 5)

    batch = ({0: torch.export.Dim("batch", max=20)},)
    exported_holds(Turn(), torch.randn(2, 3, 3), dynamic_shapes=batch, tolerance=2e-5, normwise=True)
