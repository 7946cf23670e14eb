"""Ranges of sizes as PyTorch's exporters take them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from enginesmith.converters.core.inputs import Dim, InputSpec, chosen
from enginesmith.converters.core.sizes import names_in, value_of

SMALLEST = 2
"""Of a dynamic size in a trace: 0 and 1 would be taken for constants."""


def traced_shapes(specs: Sequence[InputSpec]) -> dict[str, tuple[int, ...]]:
    """Shapes to trace with: the optimum, with sizes that hang together, and none of a range below 2."""

    def size(dim: Dim) -> int:
        least = -(-SMALLEST // dim.step) * dim.step
        return min(max(dim.opt, least), dim.max) if dim.dynamic else dim.opt

    return {spec.name: spec.opt for spec in chosen(specs, size)}


def axis_names(specs: Sequence[InputSpec]) -> list[dict[int, str]]:
    """A name for each dynamic dimension, input by input: the same for sizes that are one."""
    firsts = [spec for spec in specs if spec.dims and spec.dims[0].dynamic and not spec.dims[0].form]
    taken = {name for spec in specs for dim in spec.dims if dim.form for name in names_in(dim.form)}

    def name(spec: InputSpec, axis: int) -> str:
        form = spec.dims[axis].form
        own = "batch" if axis == 0 and len(firsts) == 1 else f"{spec.name}_{axis}"
        while not form and own in taken:
            own = f"{own}_"
        return re.sub(r"\W", "_", form or own)

    return [{axis: name(spec, axis) for axis, dim in enumerate(spec.dims) if dim.dynamic} for spec in specs]


def export_dims(specs: Sequence[InputSpec]) -> tuple[dict[int, Any], ...]:
    """What `torch.export` calls dynamic shapes: a `Dim` for each range, an expression of one where it is linear, and `Dim.AUTO`
    for what a `Dim` can't say, such as a sum of two.
    """
    import torch

    plain = {
        name: _dim(name, dim)
        for spec, names in zip(specs, axis_names(specs), strict=True)
        for dim, name in ((spec.dims[axis], name) for axis, name in names.items())
        if not dim.form or dim.form == name
    }

    def dim(form: str, name: str) -> Any:
        if name in plain:
            return plain[name]
        try:
            return value_of(form, plain)
        except (NotImplementedError, TypeError, KeyError):
            return torch.export.Dim.AUTO

    return tuple(
        {axis: dim(spec.dims[axis].form, name) for axis, name in names.items()}
        for spec, names in zip(specs, axis_names(specs), strict=True)
    )


def _dim(name: str, dim: Dim) -> Any:
    import torch

    if dim.step == 1:
        return torch.export.Dim(name, min=dim.min, max=dim.max)
    return dim.step * torch.export.Dim(f"_{name}", min=-(-dim.min // dim.step), max=dim.max // dim.step)
