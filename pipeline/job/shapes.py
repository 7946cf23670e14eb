"""The shape grammar: `x:1x3x320x320`, `x:1..4..16x3x224x224` (min..opt..max), `ids:1x128:int64`, several with spaces or commas.

The name may be left out where the model has one input. An input given more than once has several fixed shapes: the first
ones of all inputs belong together, then the second ones; an input given once has that shape in all of them.
"""

from __future__ import annotations

import math
import re

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import DTYPES, Dim, InputSpec
from enginesmith.converters.core.printable import one_line

SCALAR = "scalar"
MOST = 2**31 - 1
"""Elements of an input."""
EXAMPLES = (
    "write 1x3x320x320, x:1x3x320x320, x:1..4..16x3x224x224 (min..opt..max), ids:1x128:int64, "
    "or several fixed shapes: 1x3x224x224,1x3x320x320"
)


def parse_shapes(text: str) -> tuple[InputSpec, ...]:
    """Parse the shapes of all inputs, separated by spaces or commas. Raises UserError."""
    parts = re.split(r"[\s,;]+", text.strip())
    if parts == [""]:
        raise UserError(f"an empty shape; {EXAMPLES}")
    by_name: dict[str, list[InputSpec]] = {}
    for spec in map(_parse_input, parts):
        by_name.setdefault(spec.name, []).append(spec)
    if len(by_name) > 1 and "" in by_name:
        raise UserError(f"shape {text!r}: with several inputs each needs its name; {EXAMPLES}")
    counts = {name: len(given) for name, given in by_name.items() if len(given) > 1}
    if len(set(counts.values())) > 1:
        told = " and ".join(f"{count} of {name}" for name, count in counts.items())
        raise UserError(f"shape {text!r} has {told}: give each input one shape, or all the same number")
    specs = tuple(_joined(given, text) for given in by_name.values())
    if counts and any(spec.dynamic and not spec.shapes for spec in specs):
        raise UserError(f"shape {text!r}: give several shapes or ranges (`..`), not both")
    sets = list(zip(*(spec.shapes for spec in specs if spec.shapes), strict=True))
    if len(set(sets)) < len(sets):
        raise UserError(f"shape {text!r} says the same twice; with several inputs each needs its name")
    return specs


def _joined(given: list[InputSpec], text: str) -> InputSpec:
    """One input from all that was said about it."""
    first = given[0]
    if len(given) == 1:
        return first
    what = first.name or "the input"
    if any(spec.dynamic for spec in given):
        raise UserError(f"shape {text!r}: of several shapes of {what} each must be fixed, without `..`")
    if len({len(spec.dims) for spec in given}) > 1:
        raise UserError(f"shape {text!r}: the shapes of {what} differ in rank; with several inputs each needs its name")
    if len({spec.dtype for spec in given}) > 1:
        raise UserError(f"shape {text!r}: give the dtype of {what} with each of its shapes")
    return InputSpec.several(first.name, [spec.opt for spec in given], first.dtype)


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
    if math.prod(dim.max for dim in dims) > MOST:
        raise UserError(f"shape {text!r} has more than 2^31 elements, which no backend counts")
    return InputSpec(name=head, dtype=dtype, dims=dims)


def _parse_dim(text: str, whole: str) -> Dim:
    sizes = text.split("..")
    if len(sizes) not in (1, 2, 3) or not all(re.fullmatch(r"[0-9]+", size) for size in sizes):
        raise UserError(f"shape {whole!r} doesn't parse at {text!r}; {EXAMPLES}")
    if max(map(len, sizes)) > len(str(MOST)):
        raise UserError(f"shape {one_line(whole)!r}: no input has so many elements")
    numbers = [int(size) for size in sizes]
    low, opt, high = numbers[0], numbers[len(numbers) // 2], numbers[-1]
    if not 0 < low <= opt <= high:
        raise UserError(f"shape {whole!r}: {text!r} needs 0 < min <= opt <= max")
    return Dim(min=low, opt=opt, max=high)


def _format_input(spec: InputSpec) -> str:
    if spec.shapes:
        return " ".join(_format_input(InputSpec.static(spec.name, shape, spec.dtype)) for shape in spec.shapes)
    dims = "x".join(f"{d.min}..{d.opt}..{d.max}" if d.dynamic else str(d.opt) for d in spec.dims) or SCALAR
    name = f"{spec.name}:" if spec.name else ""
    dtype = "" if spec.dtype == "float32" else f":{spec.dtype}"
    return f"{name}{dims}{dtype}"
