"""Operators that the exporters lack, as operators that they have.

One module a family; each decomposition is a function of torch with the signature of the operator that it stands for, under
`@decomposes(torch.ops.aten.hypot.default, …)`. It is traced in the place of the operator as the ONNX exporter decomposes what
`torch.export` made, so it may call whatever is exported itself, other decompositions included, and may return NotImplemented for
arguments that the exporter's own translation takes as well. Each is held against PyTorch on generated inputs by
`tests/converters/torch_models/operators/`. What can't be written so is said by `impossible(…)`, with the reason.
"""

from enginesmith.converters.torch_models.operators.registry import (
    decomposed,
    decomposes,
    has_replaced,
    impossible,
    replacing,
)

__all__ = ["decomposed", "decomposes", "has_replaced", "impossible", "replacing"]
