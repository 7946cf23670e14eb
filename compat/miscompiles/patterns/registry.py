"""Where the patterns are registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

Looks = Callable[[ir.Node], str | None]


@dataclass(frozen=True)
class Pattern:
    """`ops` are the qualified operators at which `looks` says what makes the node's surroundings the graph in question."""

    ops: tuple[str, ...]
    looks: Looks


PATTERNS: dict[str, Pattern] = {}
"""Every pattern by its function's name."""


def pattern(*ops: str) -> Callable[[Looks], Looks]:
    """Register a function that looks at nodes of these operators. Raises ValueError where its name is taken."""

    def register(looks: Looks) -> Looks:
        if looks.__name__ in PATTERNS:
            raise ValueError(f"two patterns {looks.__name__}")
        PATTERNS[looks.__name__] = Pattern(ops, looks)
        return looks

    return register
