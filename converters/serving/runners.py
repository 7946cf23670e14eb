"""A Polygraphy runner of whatever gives outputs: an engine, or a graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import Dim, InputSpec, resolve_inputs, specs_by_name
from enginesmith.converters.core.records import TensorInfo

if TYPE_CHECKING:
    import onnx
    from polygraphy.backend.base import BaseRunner

OPEN = 1 << 20
"""The largest size of a dimension of which nothing is said."""


def runner_of(backend: str, path: Path, threads: int | None = None, *, shipped: bool = False) -> BaseRunner:
    """Of an engine's file, or of a graph's (`backend` is `onnxruntime`); a stand-in runs as it is written. `threads` and
    `shipped` as ONNX Runtime's `session` has them.
    """
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.graphs import onnxruntime
    from enginesmith.converters.graphs.comparison import ONNXRUNTIME
    from enginesmith.converters.precision.mix import STAND_IN

    if backend != ONNXRUNTIME:
        return get_backend(backend).runner(path, threads=threads)
    # optimized, it might not round
    optimize = False if path.name == STAND_IN else None
    return onnxruntime.runner(path, threads=threads, optimize=optimize, shipped=shipped)


def specs_of(runner: BaseRunner, changed: onnx.ModelProto | None) -> tuple[InputSpec, ...]:
    """What an active runner takes; `changed` is the interface that its model had before repairs, if they changed it."""
    from enginesmith.converters.graphs.describe import inputs_of

    if changed is not None:
        return tuple(_spec(each.name, each.dtype, each.shape) for each in inputs_of(changed))
    inputs = runner.get_input_metadata(use_numpy_dtypes=True)
    return tuple(_spec(name, str(each.dtype), list(each.shape)) for name, each in inputs.items())


def sized(specs: Sequence[InputSpec], given: Sequence[InputSpec], batch: int | None = None) -> tuple[InputSpec, ...]:
    """With the sizes that were given; those of others may stay open. `batch` is the first size of all inputs.

    Raises UserError for a name that no input has, and for sizes that don't fit.
    """
    infos = [as_info(spec, batch) for spec in specs]
    by_name = specs_by_name(infos, given)
    resolved = iter(resolve_inputs([info for info in infos if info.name in by_name], list(by_name.values())))
    return tuple(next(resolved) if info.name in by_name else _spec(info.name, info.dtype, info.shape) for info in infos)


def as_info(spec: InputSpec, batch: int | None = None) -> TensorInfo:
    """An input with its open sizes as a graph states them, but for that of a `batch`. Raises UserError where it is another."""
    shape: list[int | str] = ["?" if dim.dynamic else dim.opt for dim in spec.dims]
    if batch is not None and shape:
        if shape[0] not in ("?", batch):
            raise UserError(
                f"input {spec.name} has a batch of {shape[0]} and takes no other; build an engine for {batch}, with --shape"
            )
        shape[0] = batch
    return TensorInfo(name=spec.name, dtype=spec.dtype, shape=shape)


def _spec(name: str, dtype: str, shape: Sequence[int | str]) -> InputSpec:
    fixed = [size if isinstance(size, int) and size >= 0 else None for size in shape]
    dims = tuple(Dim(min=1, opt=1, max=OPEN) if size is None else Dim(min=size, opt=size, max=size) for size in fixed)
    return InputSpec(name=name, dtype=dtype, dims=dims)
