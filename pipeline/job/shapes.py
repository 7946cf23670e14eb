"""The shape grammar: `x:1x3x320x320`, `x:1..4..16x3x224x224` (min..opt..max), `ids:1x128:int64`, several with spaces or commas.

Sizes that hang together are named where they are given, and used in sums, differences and products of names:
`ids:1x{s=1..16..128} past:1x8x{p=0..32..512}x64 mask:1x{p+s}`. The values of an integer input that decides on sizes are
`n=1..30..500`, or a named size: `n={s}`.

The name may be left out where the model has one input. An input given more than once has several fixed shapes: the first
ones of all inputs belong together, then the second ones; an input given once has that shape in all of them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import DTYPES, Dim, InputSpec
from enginesmith.converters.core.printable import one_line
from enginesmith.converters.core.sizes import names_in, value_of

SCALAR = "scalar"
MOST = 2**31 - 1
"""Elements of an input."""
EXAMPLES = (
    "write 1x3x320x320, x:1x3x320x320, x:1..4..16x3x224x224 (min..opt..max), ids:1x128:int64, "
    "ids:1x{s=1..16..128} mask:1x{s+1} (named sizes), n=1..30..500 (values of integers), "
    "or several fixed shapes: 1x3x224x224,1x3x320x320"
)
NAMED = re.compile(r"\{(?:([A-Za-z_]\w*)=([0-9.]+)|([^{}=]+))\}", re.ASCII)
"""`{s=1..16..128}` says what a name is, `{p+s}` uses names."""
VALUES = re.compile(r"(.*)=([0-9.]+|\{[^{}]+\})", re.DOTALL)
MOST_NAMES = 8
"""In one expression."""
Sizes = dict[str, Dim]


def parse_shapes(text: str) -> tuple[InputSpec, ...]:
    """Parse the shapes of all inputs, separated by spaces or commas. Raises UserError."""
    parts = re.split(r"[\s,;]+", text.strip())
    if parts == [""]:
        raise UserError(f"an empty shape; {EXAMPLES}")
    sizes = _named_sizes(parts)
    by_name: dict[str, list[InputSpec]] = {}
    for part in parts:
        spec = _parse_input(part, sizes)
        by_name.setdefault(spec.name, []).append(spec)
    if len(by_name) > 1 and "" in by_name:
        raise UserError(f"shape {text!r}: with several inputs each needs its name; {EXAMPLES}")
    counts = {name: len(given) for name, given in by_name.items() if len(given) > 1}
    if len(set(counts.values())) > 1:
        told = " and ".join(f"{count} of {name}" for name, count in counts.items())
        raise UserError(f"shape {text!r} has {told}: give each input one shape, or all the same number")
    specs = tuple(_joined(given, text) for given in by_name.values())
    if counts and any((spec.dynamic or spec.values) and not spec.shapes for spec in specs):
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
    if any(spec.values for spec in given):
        raise UserError(f"shape {text!r}: give the shape and the values of {what} in one, such as {what}:1=1..30..500")
    if any(spec.dynamic for spec in given):
        raise UserError(f"shape {text!r}: of several shapes of {what} each must be fixed, without `..`")
    if len({len(spec.dims) for spec in given}) > 1:
        raise UserError(f"shape {text!r}: the shapes of {what} differ in rank; with several inputs each needs its name")
    if len({spec.dtype for spec in given}) > 1:
        raise UserError(f"shape {text!r}: give the dtype of {what} with each of its shapes")
    return InputSpec.several(first.name, [spec.opt for spec in given], first.dtype)


def format_shapes(specs: tuple[InputSpec, ...]) -> str:
    """The inverse of `parse_shapes`."""
    said: set[str] = set()
    return " ".join(_format_input(spec, said) for spec in specs)


def _named_sizes(parts: Sequence[str]) -> Sizes:
    """What the names mean. Raises UserError where one means two things."""
    sizes: Sizes = {}
    for part in parts:
        for name, given, _ in NAMED.findall(part):
            if name:
                dim = _range(given, part).model_copy(update={"form": name})
                if sizes.setdefault(name, dim) != dim:
                    raise UserError(
                        f"shape {one_line(part)!r}: {name} has two ranges; say it once and write {{{name}}} elsewhere"
                    )
    return sizes


def _parse_input(text: str, sizes: Sizes) -> InputSpec:
    values = None
    said = text
    if found := VALUES.fullmatch(text):
        said = found[1]
        values = _parse_dim(found[2], text, sizes)
        if ":" not in said:
            return InputSpec(name=said, dtype="int64", dims=(), values=values, shaped=False)
    head, _, tail = said.rpartition(":")
    dtype = "float32" if values is None else "int64"
    if head and tail in DTYPES:
        dtype = tail
        head, _, tail = head.rpartition(":")
    elif head and tail != SCALAR and re.match(r"[A-Za-z_]", tail):
        raise UserError(f"shape {text!r}: unknown dtype {tail!r}; one of {' '.join(DTYPES)}")
    if values is not None and "int" not in dtype:
        raise UserError(f"shape {text!r}: a range of values is for integers, and {head} holds {dtype}")
    dims = () if tail == SCALAR else tuple(_parse_dim(dim, text, sizes) for dim in _split(tail))
    if math.prod(max(dim.max, 1) for dim in dims) > MOST:
        raise UserError(f"shape {text!r} has more than 2^31 elements, which no backend counts")
    return InputSpec(name=head, dtype=dtype, dims=dims, values=values)


def _split(text: str) -> list[str]:
    """The sizes between the `x`, but not one in braces."""
    return re.split(r"x(?![^{]*\})", text)


def _parse_dim(text: str, whole: str, sizes: Sizes) -> Dim:
    found = NAMED.fullmatch(text)
    if found is None:
        return _range(text, whole)
    name, _, form = found.groups()
    if name:
        return sizes[name]
    try:
        used = names_in(form)
    except ValueError:
        raise UserError(
            f"shape {one_line(whole)!r}: {form!r} is no sum, difference or product of names and numbers"
        ) from None
    for each in used:
        if each not in sizes:
            raise UserError(
                f"shape {one_line(whole)!r}: nothing says what {each} is; write {{{each}=1..16..128}} where it is a size"
            )
    if form in sizes:
        return sizes[form]
    opt = value_of(form, {each: sizes[each].opt for each in used})
    ends = (
        [
            value_of(form, dict(zip(used, corner, strict=True)))
            for corner in itertools.product(*((sizes[each].min, sizes[each].max) for each in used[:MOST_NAMES]))
        ]
        if len(used) <= MOST_NAMES
        else [-1]
    )
    if min(ends) < 0 or opt < 1 or max(ends) > MOST:
        raise UserError(
            f"shape {one_line(whole)!r}: {form} is {min(ends)}..{opt}..{max(ends)}, which is no range of sizes"
        )
    return Dim(min=min(ends), opt=opt, max=max(ends), form=form if max(ends) > min(ends) else "")


def _range(text: str, whole: str) -> Dim:
    sizes = text.split("..")
    if len(sizes) not in (1, 2, 3) or not all(re.fullmatch(r"[0-9]+", size) for size in sizes):
        raise UserError(f"shape {whole!r} doesn't parse at {text!r}; {EXAMPLES}")
    if max(map(len, sizes)) > len(str(MOST)):
        raise UserError(f"shape {one_line(whole)!r}: no input has so many elements")
    numbers = [int(size) for size in sizes]
    low, opt, high = numbers[0], numbers[len(numbers) // 2], numbers[-1]
    if not (low <= opt <= high and opt > 0):
        raise UserError(f"shape {whole!r}: {text!r} needs 0 <= min <= opt <= max and 0 < opt")
    return Dim(min=low, opt=opt, max=high)


def _format_input(spec: InputSpec, said: set[str]) -> str:
    if spec.shapes:
        return " ".join(_format_input(InputSpec.static(spec.name, shape, spec.dtype), said) for shape in spec.shapes)
    values = "" if spec.values is None else f"={_format_dim(spec.values, said)}"
    if not spec.shaped:
        return f"{spec.name}{values}"
    dims = "x".join(_format_dim(dim, said) for dim in spec.dims) or SCALAR
    name = f"{spec.name}:" if spec.name or values else ""
    dtype = "" if spec.dtype == ("int64" if values else "float32") else f":{spec.dtype}"
    return f"{name}{dims}{dtype}{values}"


def _format_dim(dim: Dim, said: set[str]) -> str:
    sizes = "..".join(map(str, dim.bounds)) if dim.dynamic else str(dim.opt)
    if not dim.form:
        return sizes
    if dim.form in said or not dim.form.isidentifier():
        return f"{{{dim.form}}}"
    said.add(dim.form)
    return f"{{{dim.form}={sizes}}}"
