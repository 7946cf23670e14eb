"""What the tests of decompositions share: edge values, and the comparison with PyTorch's own operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.utils import _pytree as pytree

from enginesmith.converters.torch_models.capture import capture
from enginesmith.converters.torch_models.operators.pairs import Pair, on_pairs_of
from enginesmith.converters.torch_models.operators.registry import decompositions, replacing

EDGES = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3e-39, 1e-20, 1e20, -3e38, torch.inf, -torch.inf, torch.nan])


def pairs(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every value with every value."""
    x, y = torch.meshgrid(values, values, indexing="ij")
    return x.reshape(-1).clone(), y.reshape(-1).clone()


def holds(operator: Any, *arguments: Any, **named: Any) -> None:
    """The decomposition of `operator` gives what PyTorch gives, within its tolerance: shapes, dtypes and values."""
    found = decompositions()[operator]
    expected, results = operator(*arguments, **named), found.function(*arguments, **named)
    _same(expected, results, found.tolerance, found.normwise)


def pairs_hold(operator: Any, *arguments: Any, **named: Any) -> None:
    """The form of `operator` on pairs gives what PyTorch gives on complex tensors, within its tolerance."""
    found = on_pairs_of(operator)
    assert found is not None
    given, named_given = pytree.tree_map(_paired, (arguments, named))
    expected = operator(*arguments, **named)
    results = pytree.tree_map(_complex, found.function(*given, **named_given))
    both = [
        pytree.tree_map(lambda each: torch.view_as_real(each) if each.is_complex() else each, side)
        for side in (expected, results)
    ]
    _same(*both, found.tolerance, normwise=True)


def _paired(value: Any) -> Any:
    return Pair(value.real, value.imag) if isinstance(value, torch.Tensor) and value.is_complex() else value


def _complex(value: Any) -> Any:
    return torch.complex(value.re, value.im) if isinstance(value, Pair) else value


def exported_holds(
    module: nn.Module,
    *inputs: torch.Tensor,
    dynamic_shapes: Any = None,
    tolerance: float = 1e-6,
    normwise: bool = False,
    others: Sequence[tuple[torch.Tensor, ...]] = (),
) -> onnx.ModelProto:
    """The module's ONNX graph gives in ONNX Runtime what the module gives, on other inputs of its dynamic shapes too."""
    with replacing():
        program = torch.onnx.export(capture(module.eval(), inputs, dynamic_shapes), dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    for feed in (inputs, *others):
        results = session.run(None, dict(zip(names, (each.numpy() for each in feed), strict=True)))
        found = tuple(map(torch.from_numpy, map(np.asarray, results)))
        with torch.no_grad():
            expected = tuple(pytree.tree_leaves(module(*feed)))
        _same(expected, found, tolerance, normwise)
    return program.model_proto


def _same(expected: Any, results: Any, tolerance: float, normwise: bool) -> None:
    wanted, found = pytree.tree_leaves(expected), pytree.tree_leaves(results)
    assert len(wanted) == len(found)
    for want, have in zip(wanted, found, strict=True):
        assert (want.shape, want.dtype) == (have.shape, have.dtype)
        rtol = atol = 0.0
        if want.is_floating_point():
            rtol = tolerance * torch.finfo(want.dtype).eps / torch.finfo(torch.float32).eps
            finite = want[want.isfinite()]
            atol = rtol * float(finite.abs().max()) if normwise and finite.numel() else 0.0
        torch.testing.assert_close(have, want, rtol=rtol, atol=atol, equal_nan=True)
