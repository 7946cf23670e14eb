"""NonMaxSuppression with a fixed number of steps: take the best box left, remove all that it overlaps, and again.

That is the definition itself, as ONNX Runtime computes it: the lower index wins a tie, an overlap is compared in float32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.repairs.bounded.dims import Axis, is_static
from enginesmith.compat.repairs.bounded.rewriter import Rewriter, rule
from enginesmith.compat.repairs.bounded.values import Bounded, Positions
from enginesmith.compat.target import TVM
from enginesmith.compat.values import argument, attribute, constant, static_shape

GONE = float(np.finfo(np.float32).min)
"""The score of a box that can't be picked any more."""
FLOAT, INT, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL


class Boxes(NamedTuple):
    """Corners and areas of the candidates of each group, float32[groups, candidates]."""

    y1: ir.Value
    x1: ir.Value
    y2: ir.Value
    x2: ir.Value
    area: ir.Value


@rule("NonMaxSuppression", source=True)
def suppression(rewriter: Rewriter, node: ir.Node) -> Bounded:
    """Columns of the result are the batch, the class and the box, as ONNX has them; rows by class, then by score."""
    boxes, scores = (rewriter.get(value) for value in node.inputs[:2])
    if boxes.dims[1] != scores.dims[2] or not is_static((*boxes.dims[0], *scores.dims[1])):
        raise NotApplicable("its boxes and scores were selected by different conditions")
    batches, classes, candidates = scores.shape
    groups = batches * classes
    steps = _steps(rewriter, node, candidates, groups)
    if not steps:
        raise NotApplicable("it selects nothing")

    left = rewriter.filled(scores, GONE)
    floor = argument(node, 4)
    if floor is not None:
        above = rewriter.emit("Greater", left, _scalar(rewriter, floor), shape=scores.shape, dtype=BOOL)
        left = rewriter.emit("Where", above, left, GONE, shape=scores.shape, dtype=FLOAT)
    left = rewriter.reshape(left, [groups, candidates])
    overlap = argument(node, 3)
    threshold = rewriter.constant(0.0) if overlap is None else _scalar(rewriter, overlap)
    picks, best = _pick(rewriter, left, _corners(rewriter, node, boxes, classes), threshold, steps)

    rows = groups * steps
    real = rewriter.emit("Greater", best, GONE, shape=[groups, steps], dtype=BOOL)
    most = argument(node, 2)
    if most is not None and constant(most) is None:
        turns = np.arange(steps, dtype=np.int64)[None]
        wanted = rewriter.emit("Less", turns, _scalar(rewriter, most), shape=[1, steps], dtype=BOOL)
        real = rewriter.both(real, wanted)
    valid = rewriter.reshape(real, [rows])
    group = np.repeat(np.arange(groups), steps)
    columns = rewriter.constant(np.stack((group // classes, group % classes), axis=1).astype(np.int64))
    picks = rewriter.reshape(picks, [rows, 1])
    value = rewriter.emit("Concat", columns, picks, axis=1, shape=[rows, 3], dtype=INT)
    of = (boxes.dims[0], scores.dims[1], boxes.dims[1])
    return Bounded(value, ((Axis(rows, valid, packed=groups == 1),), (3,)), Positions(of, columns=1))


def _scalar(rewriter: Rewriter, value: ir.Value) -> ir.Value:
    return rewriter.reshape(rewriter.tensor(rewriter.get(value)), [])


def _steps(rewriter: Rewriter, node: ir.Node, candidates: int, groups: int) -> int:
    """How many boxes of a group can matter. A number that only a run tells may be any."""
    limit = argument(node, 2)
    known = constant(limit)
    most = 0 if limit is None else candidates if known is None else int(known.reshape(()))
    read = _read(node.outputs[0]) if groups == 1 else None
    return min(candidates, most, candidates if read is None else read)


PASSING = ("Gather", "Squeeze", "Unsqueeze", "Reshape", "Cast", "Identity", "Transpose", "Guard")
"""What keeps the rows of a selection in their order."""


def _read(value: ir.Value) -> int | None:
    """How many of its first rows are read at all: where a Slice follows that keeps no more. None if all."""
    most = 0
    if value.is_graph_output():
        return None
    for reader, index in value.uses():
        found: int | None = None
        if reader.op_type == "Slice" and index == 0:
            start, end = (constant(argument(reader, place)) for place in (1, 2))
            axes, step = (constant(argument(reader, place)) for place in (3, 4))
            simple = all(part is None or part.size == 1 for part in (start, end, axes, step))
            if simple and start == 0 and end is not None and end >= 0 and axes in (None, 0) and step in (None, 1):
                found = int(end.reshape(()))
        elif reader.op_type in PASSING and index == 0:
            along_rows = reader.op_type == "Gather" and attribute(reader, "axis", 0) == 0
            found = None if along_rows else _read(reader.outputs[0])
        if found is None:
            return None
        most = max(most, found)
    return most


def _corners(rewriter: Rewriter, node: ir.Node, boxes: Bounded, classes: int) -> Boxes:
    batches, candidates, _ = boxes.shape
    shape = [batches, candidates]

    def two(op: str, one: ir.Value, other: ir.Value | float) -> ir.Value:
        return rewriter.emit(op, one, other, shape=shape, dtype=FLOAT)

    value = rewriter.filled(boxes, 0)
    parts = [
        rewriter.emit("Gather", value, np.array(index, np.int64), axis=2, shape=shape, dtype=FLOAT)
        for index in range(4)
    ]
    if attribute(node, "center_point_box", 0):
        x, y, width, height = parts
        width, height = two("Div", width, 2.0), two("Div", height, 2.0)
        y1, x1, y2, x2 = two("Sub", y, height), two("Sub", x, width), two("Add", y, height), two("Add", x, width)
    else:
        y1, y2 = two("Min", parts[0], parts[2]), two("Max", parts[0], parts[2])
        x1, x2 = two("Min", parts[1], parts[3]), two("Max", parts[1], parts[3])
    found = Boxes(y1, x1, y2, x2, two("Mul", two("Sub", x2, x1), two("Sub", y2, y1)))
    if classes == 1:
        return found
    rows = np.repeat(np.arange(batches), classes)
    return Boxes(
        *(rewriter.emit("Gather", part, rows, axis=0, shape=[len(rows), candidates], dtype=FLOAT) for part in found)
    )


def _pick(
    rewriter: Rewriter, left: ir.Value, boxes: Boxes, threshold: ir.Value, steps: int
) -> tuple[ir.Value, ir.Value]:
    """The boxes picked, int64[groups, steps], and their scores; GONE where none was left.

    A Loop keeps the graph small. TVM has none, and gets the steps one after the other.
    """
    groups, candidates = static_shape(left) or [0, 0]
    if rewriter.target.backend in TVM:
        found = []
        for _ in range(steps):
            left, pick, best = _step(rewriter.build, left, boxes, threshold, candidates)
            found.append((pick, best))
        picks, best = (
            rewriter.emit("Concat", *part, axis=1, shape=[groups, steps], dtype=dtype)
            for part, dtype in zip(zip(*found, strict=True), (INT, FLOAT), strict=True)
        )
        return picks, best
    # Changes nothing: what is lower is never picked. TensorRT-RTX 1.7 fails on a loop that starts from reshaped scores alone.
    left = rewriter.emit("Max", left, GONE, shape=[groups, candidates], dtype=FLOAT)
    body = _body(rewriter, left, boxes, threshold, candidates)
    _, picks, best = rewriter.emit_all(
        "Loop",
        np.array(steps, np.int64),
        np.array(True),
        left,
        body=body,
        outputs=[([groups, candidates], FLOAT), ([steps, groups, 1], INT), ([steps, groups, 1], FLOAT)],
    )
    if groups == 1:
        return rewriter.reshape(picks, [1, steps]), rewriter.reshape(best, [1, steps])
    turned = [
        rewriter.emit("Transpose", part, perm=[1, 0, 2], shape=[groups, steps, 1], dtype=part.dtype)
        for part in (picks, best)
    ]
    return rewriter.reshape(turned[0], [groups, steps]), rewriter.reshape(turned[1], [groups, steps])


def _body(rewriter: Rewriter, left: ir.Value, boxes: Boxes, threshold: ir.Value, candidates: int) -> ir.Graph:
    inner = Builder(rewriter.build.node, rewriter.target)
    turn = ir.Value(name="turn", shape=ir.Shape([]), type=ir.TensorType(INT))
    going = ir.Value(name="going", shape=ir.Shape([]), type=ir.TensorType(BOOL))
    before = ir.Value(name="left", shape=left.shape, type=ir.TensorType(FLOAT))
    on = inner.op("Identity", going)
    after, pick, best = _step(inner, before, boxes, threshold, candidates)
    on.dtype, on.shape = BOOL, ir.Shape([])
    outputs = (on, after, pick, best)
    body = ir.Graph([turn, going, before], outputs, nodes=inner.nodes, name="suppress", opset_imports={"": inner.opset})
    prefix = rewriter.build.node.name
    for number, value in enumerate(value for node in body for value in node.outputs):
        value.name = f"{prefix}/step:{number}"
    for value in (turn, going, before):
        value.name = f"{prefix}/{value.name}"
    return body


def _step(
    build: Builder, left: ir.Value, boxes: Boxes, threshold: ir.Value, candidates: int
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """One pick: what is left after it, the pick and its score."""
    pick = build.op("ArgMax", left, axis=1, keepdims=1)
    best = build.op("GatherElements", left, pick, axis=1)
    own = Boxes(*(build.op("GatherElements", part, pick, axis=1) for part in boxes))
    width = build.op("Relu", build.op("Sub", build.op("Min", boxes.x2, own.x2), build.op("Max", boxes.x1, own.x1)))
    height = build.op("Relu", build.op("Sub", build.op("Min", boxes.y2, own.y2), build.op("Max", boxes.y1, own.y1)))
    shared = build.op("Mul", width, height)
    union = build.op("Sub", build.op("Add", own.area, boxes.area), shared)
    # Of two boxes without an area, 0 / 0 exceeds nothing.
    over = build.op("Greater", build.op("Div", shared, union), threshold)
    itself = build.op("Equal", build.constant(np.arange(candidates)[None]), pick)
    after = build.op("Where", build.op("Or", over, itself), GONE, left)
    groups = (static_shape(left) or [1])[0]
    for value, dtype in ((pick, INT), (best, FLOAT)):
        value.dtype, value.shape = dtype, ir.Shape([groups, 1])
    after.dtype, after.shape = FLOAT, left.shape
    return after, pick, best
