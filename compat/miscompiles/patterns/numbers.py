"""Single operators that get numbers wrong: NaN, integers, bounds."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.miscompiles.patterns.around import ancestors, is_half, maker, number
from enginesmith.compat.miscompiles.patterns.registry import pattern
from enginesmith.compat.values import FLOATS, argument, attribute, constant, dtype

NEAR = 6
"""Nodes behind which a NaN is looked for."""
INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)


@pattern("Clip")
def clip_of_nan(node: ir.Node) -> str | None:
    """A Clip of floats behind an operator that makes NaN, unless the NaN are put back."""
    source = _makes_nan(argument(node, 0))
    return f"it clips what {source} makes, which may be NaN" if source and not _put_back(node) else None


@pattern("Min")
def minimum_of_nan(node: ir.Node) -> str | None:
    """A Min of floats behind an operator that makes NaN, unless the NaN are put back."""
    source = next(filter(None, map(_makes_nan, node.inputs)), None)
    return f"it is the least of what {source} makes, which may be NaN" if source and not _put_back(node) else None


@pattern("Clip")
def clipped_product(node: ir.Node) -> str | None:
    """MatMul, Add, Clip from 0 to a bound; a Gemm is such a product and sum."""
    low, high = number(argument(node, 1)), number(argument(node, 2))
    if low != 0 or high is None:
        return None
    made = argument(node, 0)
    total = maker(made, "Add", through=())
    product = maker(made, "Gemm", through=())
    if total is not None:
        product = next(filter(None, (maker(side, "MatMul", through=()) for side in total.inputs)), None)
    return f"a product and a sum are clipped to 0 and {high:g}" if product is not None else None


@pattern("Mod")
def integer_modulus(node: ir.Node) -> str | None:
    """A Mod of integers."""
    kind = dtype(argument(node, 0))
    return f"a modulus of {kind.name.lower()}" if kind in INTEGERS and not attribute(node, "fmod", 0) else None


@pattern("ArgMax", "ArgMin")
def last_of_equals(node: ir.Node) -> str | None:
    """ArgMax and ArgMin of which the last index is wanted."""
    return "select_last_index is 1" if attribute(node, "select_last_index", 0) else None


@pattern("Sqrt")
def half_variance(node: ir.Node) -> str | None:
    """The root of a mean of squares in half precision, as in a normalization that is written out."""
    if not is_half(node.outputs[0]):
        return None
    mean = maker(argument(node, 0), "ReduceMean", through=("Add",))
    squares = maker(argument(mean, 0), "Pow", "Mul", through=()) if mean is not None else None
    if squares is None:
        return None
    squared = squares.inputs[0] is squares.inputs[1] if squares.op_type == "Mul" else number(squares.inputs[1]) == 2
    return "a mean of squares in half precision" if squared else None


def _makes_nan(value: ir.Value | None) -> str | None:
    """The operator near a value of floats that makes NaN of ordinary numbers."""
    if dtype(value) not in FLOATS:
        return None
    for made in ancestors(value, NEAR):
        if made.op_type in ("Log", "Sqrt", "Acos", "Asin", "Acosh", "Atanh"):
            return made.op_type
        if made.op_type == "Div" and constant(argument(made, 1)) is None:
            return made.op_type
        if made.op_type == "Pow" and ((exponent := number(argument(made, 1))) is None or exponent % 1):
            return made.op_type
    return None


def _put_back(node: ir.Node) -> bool:
    """Is the result taken only where no IsNaN says otherwise?"""
    users = [user for user, _ in node.outputs[0].uses()]
    return any(user.op_type == "Where" and maker(argument(user, 0), "IsNaN", through=("Or",)) for user in users)
