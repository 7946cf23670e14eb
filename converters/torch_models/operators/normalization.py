"""Batch normalization by the batch's own mean and variance, which the exporter's translation gives in other forms."""

from __future__ import annotations

import torch
from torch._decomp import decompositions as own

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

for _operator, _function in (
    (aten.native_batch_norm.default, own.native_batch_norm),
    (aten._native_batch_norm_legit.default, own._native_batch_norm_legit),
    (aten._native_batch_norm_legit.no_stats, own._native_batch_norm_legit_no_stats),
    (aten._native_batch_norm_legit_functional.default, own._native_batch_norm_legit_functional),
):
    decomposes(_operator, tolerance=2e-6, normwise=True)(_function)
