"""The shape grammar: `x:1x3x320x320`, `x:1..4..16x3x224x224` (min..opt..max), `ids:1x128:int64`, several with spaces.

The name may be left out where the model has one input.
"""

from __future__ import annotations

import re

from enginesmith.converters.errors import UserError
from enginesmith.converters.inputs import DTYPES, Dim, InputSpec

SCALAR = "scalar"
EXAMPLES = "write 1x3x320x320, x:1x3x320x320, x:1..4..16x3x224x224 (min..opt..max) or ids:1x128:int64"


def parse_shapes(text: str) -> tuple[InputSpec, ...]:
    """Parse the shapes of all inputs, separated by spaces or commas. Raises UserError."""
    parts = re.split(r"[\s,;]+", text.strip())
    if parts == [""]:
        raise UserError(f"an empty shape; {EXAMPLES}")
    specs = tuple(_parse_input(part) for part in parts)
    names = [spec.name for spec in specs]
    if len(specs) > 1 and "" in names:
        raise UserError(f"shape {text!r}: with several inputs each needs its name; {EXAMPLES}")
    if len(set(names)) < len(names):
        raise UserError(f"shape {text!r} names an input twice")
    return specs


def format_shapes(specs: tuple[InputSpec, ...]) -> str:
    """The inverse of `parse_shapes`."""
    return " ".join(_format_input(spec) for spec in specs)


def _parse_input(text: str) -> InputSpec:
    head, _, tail = text.rpartition(":")
    dtype = "float32"
    if head and tail in DTYPES:
        dtype = tail
        head, _, tail = head.rpartition(":")
    elif head and tail != SCALAR and re.match(r"[A-Za-z_]", tail):
        raise UserError(f"shape {text!r}: unknown dtype {tail!r}; one of {' '.join(DTYPES)}")
    dims = () if tail == SCALAR else tuple(_parse_dim(dim, text) for dim in tail.split("x"))
    return InputSpec(name=head, dtype=dtype, dims=dims)


def _parse_dim(text: str, whole: str) -> Dim:
    sizes = text.split("..")
    if len(sizes) not in (1, 2, 3) or not all(re.fullmatch(r"[0-9]+", size) for size in sizes):
        raise UserError(f"shape {whole!r} doesn't parse at {text!r}; {EXAMPLES}")
    numbers = [int(size) for size in sizes]
    low, opt, high = numbers[0], numbers[len(numbers) // 2], numbers[-1]
    if not 0 < low <= opt <= high:
        raise UserError(f"shape {whole!r}: {text!r} needs 0 < min <= opt <= max")
    return Dim(min=low, opt=opt, max=high)


def _format_input(spec: InputSpec) -> str:
    dims = "x".join(f"{d.min}..{d.opt}..{d.max}" if d.dynamic else str(d.opt) for d in spec.dims) or SCALAR
    name = f"{spec.name}:" if spec.name else ""
    dtype = "" if spec.dtype == "float32" else f":{spec.dtype}"
    return f"{name}{dims}{dtype}"
