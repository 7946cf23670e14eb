"""Where a value comes from: whether it is known when an engine is built, and if not, what decides on it."""

from __future__ import annotations

from typing import Literal

import onnx_ir as ir

from enginesmith.compat.operators import RANDOM
from enginesmith.compat.values import DEFAULT_DOMAINS, constant_tensor, static_shape
from enginesmith.compat.walk import subgraphs

Origin = Literal["constant", "shapes", "data"]
SIZES = ("Shape", "Size")
MAX_WALK = 4096
"""Values looked at before a value is taken to depend on data."""


def origin(value: ir.Value | None) -> Origin:
    """`constant` when the value follows from constants and static shapes alone, `shapes` when it follows from sizes that
    are known only at run time, `data` when it follows from what an input holds, or from chance. A value that is left
    out is constant."""
    found: Origin = "constant"
    seen: set[ir.Value] = set()
    stack = [value]
    while stack:
        current = stack.pop()
        if current is None or current in seen or constant_tensor(current) is not None:
            continue
        seen.add(current)
        node = current.producer()
        if node is None or subgraphs(node) or node.op_type in RANDOM or len(seen) > MAX_WALK:
            return "data"
        if node.op_type in SIZES and node.domain in DEFAULT_DOMAINS:
            found = found if static_shape(node.inputs[0]) is not None else "shapes"
        else:
            stack += node.inputs
    return found


def inputs_behind(value: ir.Value | None) -> set[ir.Value]:
    """The graph inputs whose content decides on a value, not only their shapes."""
    found: set[ir.Value] = set()
    seen: set[ir.Value] = set()
    stack = [value]
    while stack and len(seen) < MAX_WALK:
        current = stack.pop()
        if current is None or current in seen:
            continue
        seen.add(current)
        node = current.producer()
        if node is None:
            if current.is_graph_input() and not current.is_initializer():
                found.add(current)
        elif node.op_type not in SIZES:
            stack += node.inputs
    return found
