"""One array held against one input of the model: its type, shape and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import Dim, InputSpec

if TYPE_CHECKING:
    from enginesmith.converters.core.samples import Array


def as_array(value: Any, where: str) -> Array:
    """A NumPy array of numbers from an array, a torch tensor, a picture of Pillow's, a number, or lists of these.

    Raises UserError for anything else.
    """
    import numpy as np

    if isinstance(value, list | tuple) and value and not isinstance(value[0], int | float | bool):
        parts = [as_array(part, where) for part in value]
        if len({part.shape for part in parts}) > 1:
            raise UserError(
                f"{where}: a list of arrays of the shapes {_shapes(parts)} is no batch; give them one by one"
            )
        return np.stack(parts)
    if hasattr(value, "detach"):  # a torch tensor; NumPy has no bfloat16
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        value = value.numpy()
    if isinstance(value, dict | set | str | bytes):
        raise UserError(f"{where}: a {type(value).__name__} where an array is expected")
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise UserError(f"{where}: {type(value).__name__} of {array.dtype}; give an array of numbers")
    return array


def with_batch(array: Array, spec: InputSpec, where: str) -> Array:
    """With the input's number of dimensions: a single row gets the batch axis. Raises UserError for another shape.

    The number of rows is not looked at.
    """
    shape = array.shape
    rows = array[None] if array.ndim == len(spec.dims) - 1 else array
    if fits(rows, spec) or (batched(spec) and rows.ndim and _fits(rows.shape[1:], spec.dims[1:])):
        return rows
    raise UserError(
        f"{where}: input {spec.name} got {array.dtype} {list(shape)}, wanted {spec.dtype} [{sizes(spec)}]"
        f"{_hint(shape, spec)}"
    )


def batched(spec: InputSpec) -> bool:
    """Whether the first axis counts rows: not of a scalar or a vector, nor of one picture without a batch axis."""
    return len(spec.dims) > 1 and not (len(spec.dims) == 3 and spec.dims[0].opt == 3)


def fits(array: Array, spec: InputSpec) -> bool:
    return _fits(array.shape, spec.dims)


def cast(array: Array, spec: InputSpec, where: str) -> Array:
    """In the input's dtype. Floats are rounded, everything else must survive. Raises UserError where it doesn't."""
    import numpy as np

    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(wanted)
        if array.dtype.kind == "f" and wanted.kind == "f":
            lost = np.isinf(made) & np.isfinite(array)
        else:
            # what wraps or saturates may come back as it was
            lost = (made.astype(array.dtype) != array) | (np.less(made, 0) != np.less(array, 0))
            if {array.dtype.kind, wanted.kind} in ({"f", "i"}, {"f", "u"}):
                real, whole = (array, wanted) if array.dtype.kind == "f" else (made, array.dtype)
                bounds = np.iinfo(whole)
                lost |= ~((real.astype(np.float64) >= bounds.min) & (real.astype(np.float64) < float(bounds.max) + 1))
    if not lost.any():
        return made
    example = array[lost].flat[0]
    raise UserError(
        f"{where}: input {spec.name} is {spec.dtype} and can't hold the {array.dtype} value {example}; "
        f"give it as {spec.dtype}"
    )


def check_finite(array: Array, spec: InputSpec, where: str) -> None:
    """Raises UserError for NaN and infinity."""
    import numpy as np

    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    broken = int(np.size(array) - np.isfinite(array).sum())
    what = "NaN" if np.isnan(array).any() else "infinity"
    raise UserError(f"{where}: input {spec.name} has {what} in {broken} of {array.size} places; leave the example out")


def sizes(spec: InputSpec) -> str:
    """The dimensions of an input, such as `N,3,32,32`; N where the batch may be split."""
    parts = [_size(dim) for dim in spec.dims]
    return ",".join(["N", *parts[1:]] if batched(spec) else parts)


def _size(dim: Dim) -> str:
    return f"{dim.min}..{dim.max}" if dim.dynamic else str(dim.opt)


def _fits(shape: tuple[int, ...], dims: tuple[Dim, ...]) -> bool:
    return len(shape) == len(dims) and all(d.min <= size <= d.max for size, d in zip(shape, dims, strict=True))


def _hint(shape: tuple[int, ...], spec: InputSpec) -> str:
    """What to do about a shape that doesn't fit, where it can be told."""
    dims = spec.dims
    if len(dims) == 4 and len(shape) in (3, 4):
        first = 1 if len(shape) == 4 else 0
        turned = (*shape[:first], shape[-1], *shape[first:-1])
        axes = (0, 3, 1, 2) if first else (2, 0, 1)
        if _fits(turned[first:], dims[1:]):
            return f"; the channels come last, transpose({', '.join(map(str, axes))})"
        if shape[first] == dims[1].opt:
            return f"; resize to {_size(dims[2])}x{_size(dims[3])}, or give SHAPE"
        if turned[first] == dims[1].opt:
            return f"; the channels come last, transpose({', '.join(map(str, axes))}) and resize to {_size(dims[2])}x{_size(dims[3])}"
        if {shape[first], dims[1].opt} == {1, 3}:
            return f"; give {dims[1].opt} channel{'s' if dims[1].opt > 1 else ''}"
    if len(shape) not in (len(dims), len(dims) - 1):
        return f"; give {len(dims)} dimensions, or {len(dims) - 1} for a single row" if dims else "; give a scalar"
    return "; give SHAPE if the model takes it"


def _shapes(arrays: list[Array]) -> str:
    return ", ".join(sorted({str(list(array.shape)) for array in arrays}))
