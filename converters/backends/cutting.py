"""A graph that a backend takes node by node, and not as a whole: what its compiler can't fuse is kept apart by barriers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from enginesmith.compat.findings import Attempted, Proof
from enginesmith.converters.backends.base import Backend, BuildRequest
from enginesmith.converters.core.stage import Context

T = TypeVar("T")

BARRIER = "barrier"
"""What a tensor that became an output is called among repairs."""
SECONDS = 300.0
"""For trial builds; what was found until then is taken."""


def cut(backend: Backend, request: BuildRequest, context: Context, file: Path) -> list[Attempted]:
    """Write the graph to `file` with few tensors as outputs too, with which the backend builds it. Returns those; nothing where it
    isn't built with all of them either.
    """
    import onnx_ir as ir

    from enginesmith.compat.alterations import add_barrier
    from enginesmith.compat.graphs import infer, named
    from enginesmith.compat.saving import save
    from enginesmith.compat.values import FLOATS, dtype, label

    model = infer(ir.load(request.onnx))
    named(model)
    makers = {
        out.name: node
        for node in model.graph
        for out in node.outputs
        if out.name and out.uses() and not out.is_graph_output() and dtype(out) in FLOATS
    }
    values = {name: likeliest for name, (_, likeliest, _) in request.values.items()}
    end = time.monotonic() + SECONDS

    def write(tensors: Sequence[str]) -> None:
        changed = model.clone()
        for tensor in tensors:
            add_barrier(changed, tensor)
        save(changed, file)

    def builds(tensors: Sequence[str]) -> bool:
        if time.monotonic() > end:
            return False
        context.progress(f"building with {len(tensors)} of {len(makers)} tensors as outputs too")
        write(tensors)
        return backend.trial(file, request.target, request.profile, values) is None

    found = narrowed(list(makers), builds)
    if found:
        write(found)  # the file is that of the last trial
    shown = Proof(agrees=True, reason="an output more changes no other one")
    return [Attempted(repair=BARRIER, node=label(makers[name]), op=makers[name].op_type, proof=shown) for name in found]


def narrowed(parts: list[T], does: Callable[[list[T]], bool]) -> list[T]:
    """As few of the parts as leaving out halves, quarters and so on leaves of those that do together; none where all of them
    don't.
    """
    if not parts or not does(parts):
        return []
    size = len(parts) // 2
    while size:
        start = 0
        while start < len(parts):
            rest = parts[:start] + parts[start + size :]
            if rest and does(rest):
                parts = rest
            else:
                start += size
        size = min(size, len(parts)) // 2
    return parts
