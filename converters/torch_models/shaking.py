"""Monte Carlo arithmetic (Parker 1997): each operator's floats moved by what its roundings in float32 may do to them, at random."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STEP = 2**-22
"""Relative, of float32 after a few operations."""
SUMS = ("aten::mean", "aten::sum", "aten::avg_pool", "aten::_adaptive_avg_pool", "aten::linalg_vector_norm")
"""One operator that is many additions. On a plane of one color their roundings go one way: the mean of 112 x 112 equal numbers is
up to 2e-5 off in ONNX Runtime, in eight partial sums; the root of the terms, in steps, is above that at all sizes up to there."""
RUNNING = ("aten::cumsum", "aten::_softmax")
"""The same along one axis, of which each place has a result."""


@cache
def parts() -> dict[Any, Callable[..., Any]]:
    """Operators whose result hides what their parts were rounded to, as those parts: what a normalization subtracts and divides by
    may be far larger than what it leaves, and the variance of equal numbers is none, or the square of what their mean is off by."""
    import torch
    from torch._decomp import decomposition_table

    aten = torch.ops.aten
    known = (
        aten.native_group_norm.default,
        aten.native_layer_norm.default,
        aten._log_softmax.default,
        aten.logsumexp.default,
    )
    return {operator: decomposition_table[operator] for operator in known} | {
        aten.native_batch_norm.default: _batch_norm,
        aten.var.correction: lambda *args, **kwargs: _spread(*args, **kwargs)[0],
        aten.std.correction: lambda *args, **kwargs: _spread(*args, **kwargs)[0].sqrt(),
        aten.var_mean.correction: _spread,
    }


def _batch_norm(*args: Any) -> Any:
    """That of instances, which takes its mean and its variance from the input. One with known ones is no sum, and costs much."""
    import torch
    from torch._decomp import decomposition_table

    training = args[5]
    return decomposition_table[torch.ops.aten.native_batch_norm.default](*args) if training else NotImplemented


def _spread(
    x: torch.Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The variance and the mean, in the two passes that are the usual algorithm."""
    axes = [axis % x.ndim for axis in dim or range(x.ndim)]
    mean = x.mean(axes, keepdim=True)
    terms = x.numel() / max(1, mean.numel())
    variance = ((x - mean) ** 2).sum(axes, keepdim=True) / (terms - (1 if correction is None else correction))
    return (variance, mean) if keepdim else (variance.squeeze(axes), mean.squeeze(axes))


def shaken(made: Any, func: Any, args: Any, drawn: torch.Generator) -> Any:
    """What an operator made, moved. What shares memory with an argument is no result of its own, or is seen through it."""
    if any(each.alias_info for each in func._schema.returns):
        return made
    return _moved(made, STEP * _terms(made, func._schema.name, args) ** 0.5, drawn)


def _terms(made: Any, name: str, args: Any) -> float:
    """How many numbers were added up to one."""
    if name.startswith(SUMS):
        return float(max(1, args[0].numel() / max(1, made.numel())))
    if name.startswith(RUNNING) and made.ndim:
        return float(max(1, made.shape[args[1]]))
    return 1


def _moved(made: Any, step: float, drawn: torch.Generator) -> Any:
    import torch

    if isinstance(made, tuple):
        return tuple(_moved(each, step, drawn) for each in made)
    if not (isinstance(made, torch.Tensor) and made.is_floating_point()):
        return made
    return torch.empty_like(made).uniform_(1 - step, 1 + step, generator=drawn).mul_(made)
