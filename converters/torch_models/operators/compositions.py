"""Operators that PyTorch composes of others which the exporter lacks."""

from __future__ import annotations

import torch

from enginesmith.converters.torch_models.operators.registry import composed

aten = torch.ops.aten

composed(
    *(aten.linalg_cond.default, aten.linalg_cond.p_str),
    *(aten.linalg_matrix_rank.default, aten.linalg_matrix_rank.tol_tensor),
    *(aten.linalg_pinv.default, aten.linalg_pinv.rcond_tensor),
    *(
        aten.linalg_matrix_norm.default,
        aten.linalg_matrix_norm.str_ord,
        aten.nuclear_norm.default,
        aten.nuclear_norm.dim,
    ),
    *(aten.vander.default, aten.linalg_vander.default, aten.combinations.default),
)
