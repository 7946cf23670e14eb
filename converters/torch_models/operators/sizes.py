"""What is known of a size while a decomposition is traced."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

Size: TypeAlias = Any
"""A number, or `torch.SymInt`, with which arithmetic is right and torch's stubs are not."""


def static(size: int | torch.SymInt) -> bool:
    """Whether it is a number."""
    return not isinstance(size, torch.SymInt) or size.node.maybe_as_int() is not None


def _bounds(size: torch.SymInt) -> Any:
    known: Any = size.node.shape_env
    return known.bound_sympy(size.node.expr)


def most(size: int | torch.SymInt) -> int:
    """The largest value that it may have: its bound where it is symbolic. Raises NotImplementedError where it has none."""
    if not isinstance(size, torch.SymInt):
        return int(size)
    upper = _bounds(size).upper
    try:
        bound = int(upper)
    except (TypeError, ValueError, OverflowError):
        bound = UNBOUNDED
    if bound >= UNBOUNDED:
        raise NotImplementedError("the operator needs the largest value of a dynamic size, and none is stated")
    return bound


def least(size: int | torch.SymInt) -> int:
    """The smallest value that it may have, 1 at least."""
    if not isinstance(size, torch.SymInt):
        return max(1, int(size))
    return max(1, int(_bounds(size).lower))


UNBOUNDED = 2**31
"""A bound that is no bound: torch's own for sizes that nobody bounded."""
