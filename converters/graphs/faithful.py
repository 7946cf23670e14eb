"""What ONNX Runtime's kernels compute too coarsely to be held against, in operators that it computes well.

Products of uint8 and int8 saturate on CPUs without VNNI: sums of two products are kept in 16 bits. Those of two uint8 don't: a
weight and its zero point are each raised by 128, which changes no result. A sigmoid is up to 1.6e-7 off wherever it is small, and
0 below -18: multiplied by an input of the size of a byte, as SiLU and gates do, it is a difference that no rounding explains. A
GlobalAveragePool adds one number after the other, and drifts on planes of one color; so do sums and means of many rows.

Measured on AVX2 with onnxruntime 1.31: of 64 random terms MatMulInteger was 13194 off, QLinearConv 13 levels; the sigmoid of -17
is 8.9e-8 and not 4.1e-8, and by exp all of it is right to 2e-7 relative; the mean of 112 x 112 equal numbers is 1.7e-4 off. What a
file classifier of a package returns, in which E[x^2] - E[x]^2 is over 512 rows, was 2.6e-3 off float64's, and is 4e-5.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, replace
from enginesmith.compat.graphs import infer
from enginesmith.compat.saving import save
from enginesmith.compat.target import Target
from enginesmith.compat.values import DEFAULT_DOMAINS, argument, attribute, constant, dtype, shape
from enginesmith.converters.graphs.coarse import PRODUCTS, STATES, WRITTEN_OUT

FEW = 64
"""Numbers whose mean is right: of 49 equal ones it is 7e-7 off."""


def faithful(model: ir.Model) -> int:
    """All of it, in place; returns how many nodes were changed."""
    return unsaturated(model) + precise(model)


def precise(model: ir.Model) -> int:
    """Sigmoids of float32 as 1 / (1 + e^-x), means of large planes and sums of many rows in float64; returns how many there were."""
    nodes = [node for node in model.graph.all_nodes() if node.op_type in WRITTEN_OUT and node.domain in DEFAULT_DOMAINS]
    if any(shape(node.inputs[0]) is None or dtype(node.inputs[0]) is None for node in nodes):
        infer(model)
    changed = 0
    for node in nodes:
        build = Builder(node, Target("onnxruntime", ""))
        x = argument(node, 0)
        if x is not None and dtype(x) == ir.DataType.FLOAT and (made := FORMS[node.op_type](build, x)) is not None:
            replace(node, build, made)
            changed += 1
    return changed


def _sigmoid(build: Builder, x: ir.Value) -> ir.Value:
    return build.op("Reciprocal", build.op("Add", build.op("Exp", build.op("Neg", x)), np.array(1, np.float32)))


def _mean(build: Builder, x: ir.Value) -> ir.Value | None:
    axes = [*range(2, len(shape(x) or ()))]
    if not _are_many(x, axes):
        return None
    if build.opset < 18:  # axes are an attribute
        return _in_double(build, "ReduceMean", x, axes=axes, keepdims=1)
    return _in_double(build, "ReduceMean", x, axes, keepdims=1)


def _sum(build: Builder, x: ir.Value) -> ir.Value | None:
    """Rows are added one after the other; along the last axis sums are made of parts."""
    node = build.node
    given = attribute(node, "axes", None)
    axes = constant(argument(node, 1)) if given is None else given
    rank = len(shape(x) or ())
    places = [] if axes is None else [int(axis) % rank for axis in np.ravel(axes)] if rank else []
    if rank - 1 in places or not _are_many(x, places):
        return None
    kept = {"keepdims": attribute(node, "keepdims", 1), **({} if given is None else {"axes": places})}
    return _in_double(build, node.op_type, x, *([places] if given is None else []), **kept)


def _are_many(x: ir.Value, axes: Sequence[int]) -> bool:
    dims = shape(x)
    return bool(axes) and dims is not None and math.prod(dims[axis] or FEW for axis in axes) >= FEW


def _in_double(build: Builder, op: str, x: ir.Value, *more: Any, **attributes: Any) -> ir.Value:
    wide = build.op("Cast", x, to=ir.DataType.DOUBLE)
    return build.op("Cast", build.op(op, wide, *more, **attributes), to=ir.DataType.FLOAT)


FORMS = dict(zip(WRITTEN_OUT, (_sigmoid, _mean, _sum, _sum), strict=True))


def unsaturated(model: ir.Model) -> int:
    """Make constant int8 weights of what multiplies uint8 by them uint8, in place; returns how many there were. Types are
    inferred where there is something to do."""
    nodes = [node for node in model.graph.all_nodes() if node.op_type in PRODUCTS]
    signed = [node for node in nodes if dtype(node.inputs[PRODUCTS[node.op_type][1]]) == ir.DataType.INT8]
    if not signed:
        return 0
    infer(model)
    return sum(map(_raised, signed))


def _raised(node: ir.Node) -> int:
    """1 where the node's weights were changed: all of them, which are of one type, or none."""
    places = [table[node.op_type] for table in (PRODUCTS, STATES) if node.op_type in table]
    if any(constant(argument(node, weight)) is None for _, weight, _, _ in places):
        return 0
    return max(_raise(node, each) for each in places)


def _raise(node: ir.Node, places: tuple[int, int, int, int]) -> int:
    data, place, data_zero, zero_place = places
    kinds = {dtype(argument(node, index)) for index in (data, data_zero) if index >= 0}
    weight, zero = constant(node.inputs[place]), constant(argument(node, zero_place))
    if weight is None or (zero is None and argument(node, zero_place) is not None):
        return 0
    if data >= 0 and ir.DataType.UINT8 not in kinds:
        return 0
    point = np.array(0, np.int8) if zero is None else zero
    missing = zero_place + 1 - len(node.inputs)
    if missing > 0:
        node.resize_inputs(zero_place + 1)
    for index, array in ((place, weight), (zero_place, point)):
        node.replace_input_with(index, _constant(node, (array.astype(np.int16) + 128).astype(np.uint8)))
    return 1


def _constant(node: ir.Node, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> ir.Value:
    assert node.graph is not None
    made = ir.node("Constant", [], {"value": ir.tensor(array)})
    node.graph.insert_before(node, made)
    return made.outputs[0]


@contextmanager
def exact(path: Path) -> Iterator[Path]:
    """The file, or a copy of it in operators that are computed well, where that makes a difference."""
    model = ir.load(path)
    if not faithful(model):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        save(model, Path(folder) / path.name)
        yield Path(folder) / path.name
