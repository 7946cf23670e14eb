"""Nodes of NVIDIA's public TensorRT plugins, in standard operators.

Source: github.com/NVIDIA/TensorRT, plugin/efficientNMSPlugin/efficientNMSInference.cu and its README. The `reference` of each, in
numpy, is written from the same source; `converters.graphs.proof` holds the two against each other.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TVM
from enginesmith.compat.values import attribute, dtype, static_shape

DOMAINS = ("TRT", "trt.plugins")
"""Domains in which exporters write the plugins' nodes."""
CANDIDATES = 4096
"""Of an image's scores EfficientNMS looks at so many, the best."""
GONE = float(np.finfo(np.float32).min)
"""The score of what can't be picked any more."""
FLOAT, INT32, INT64, BOOL = (
    int(kind) for kind in (ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL)
)


@repair(
    "efficient-nms",
    ops=tuple(f"{domain}::EfficientNMS_TRT" for domain in DOMAINS),
    example="""
<ir_version: 10, opset_import: ["" : 18, "TRT" : 1]>
detect (float[1, 9, 4] boxes, float[1, 9, 2] scores) => (int32[1, 1] n, float[1, 3, 4] b, float[1, 3] s, int32[1, 3] c) {
  n, b, s, c = TRT.EfficientNMS_TRT <background_class = -1, box_coding = 1, iou_threshold = 0.5, max_output_boxes = 3,
    score_threshold = 0.25, score_activation = 0> (boxes, scores)
}
""",
)
def efficient_nms(node: ir.Node, build: Builder) -> Replacement:
    """The best score of all classes is picked, what overlaps it is removed, and again: a Loop of as many turns as results."""
    if len(node.inputs) != 2:
        raise NotApplicable("it decodes the boxes itself")
    boxes, scores = node.inputs
    shapes = static_shape(boxes), static_shape(scores)
    if boxes is None or scores is None or None in shapes:
        raise NotApplicable("the shapes of its boxes and scores are not fixed")
    images, anchors, classes = shapes[1] or []
    turns, kind = int(attribute(node, "max_output_boxes", 100)), dtype(scores)
    if kind != ir.DataType.FLOAT:
        boxes, scores = (build.op("Cast", value, to=FLOAT) for value in (boxes, scores))
    if attribute(node, "score_activation", 0):
        scores = build.op("Sigmoid", scores)
    background = int(attribute(node, "background_class", -1))
    if 0 <= background < classes:
        scores = build.op("Where", np.arange(classes) == background, GONE, scores)
    threshold = float(attribute(node, "score_threshold", 0.0))
    scores = build.op("Where", build.op("GreaterOrEqual", scores, threshold), scores, GONE)
    count = min(CANDIDATES, anchors * classes)
    flat = build.op("Reshape", scores, np.array([images, anchors * classes]))
    best, places = build.ops("TopK", flat, np.array([count]), outputs=2, axis=1)
    labels = build.op("Mod", places, np.array(classes))
    rows = (
        places if len(shapes[0] or []) == 4 and (shapes[0] or [])[2] > 1 else build.op("Div", places, np.array(classes))
    )
    table = build.op("Reshape", boxes, np.array([images, -1, 4]))
    index = build.op("Expand", build.op("Unsqueeze", rows, [2]), np.array([images, count, 4]))
    corners = build.op("GatherElements", table, index, axis=1)
    if int(attribute(node, "box_coding", 0)):
        middle, size = build.ops("Split", corners, np.array([2, 2]), axis=2, outputs=2)
        half = build.op("Mul", size, 0.5)
        corners = build.op("Concat", build.op("Sub", middle, half), build.op("Add", middle, half), axis=2)
    agnostic = bool(attribute(node, "class_agnostic", 0))
    overlap = _Overlap(build, corners, labels, float(attribute(node, "iou_threshold", 0.5)), agnostic, count)
    picks, found = _picked(build, best, overlap, images, count, turns)
    real = build.op("Greater", found, GONE)
    index = build.op("Expand", build.op("Unsqueeze", picks, [2]), np.array([images, turns, 4]))
    given = build.op("GatherElements", corners, index, axis=1)
    if attribute(node, "clip_boxes", 0):
        given = build.op("Clip", given, 0.0, 1.0)
    given = build.op("Where", build.op("Unsqueeze", real, [2]), given, 0.0)
    values = build.op("Where", real, found, 0.0)
    if kind != ir.DataType.FLOAT:
        given, values = (build.op("CastLike", value, node.inputs[1]) for value in (given, values))
    chosen = build.op("Where", real, build.op("GatherElements", labels, picks, axis=1), np.array(0))
    number = build.op("ReduceSum", build.op("Cast", real, to=INT32), np.array([1]), keepdims=1)
    return [number, given, values, build.op("Cast", chosen, to=INT32)]


class _Overlap:
    """Which of an image's candidates go when one of them is picked."""

    def __init__(
        self, build: Builder, corners: ir.Value, labels: ir.Value, threshold: float, agnostic: bool, count: int
    ) -> None:
        x1, y1, x2, y2 = (build.op("Gather", corners, np.array(place), axis=2) for place in range(4))
        self.sides = (
            (build.op("Min", x1, x2), build.op("Max", x1, x2)),
            (build.op("Min", y1, y2), build.op("Max", y1, y2)),
        )
        lengths = [build.op("Sub", high, low) for low, high in self.sides]
        self.area = build.op("Mul", *lengths)
        self.labels = None if agnostic else labels
        self.threshold, self.count = threshold, count

    def with_(self, build: Builder, pick: ir.Value) -> ir.Value:
        """bool[images, count]: the pick itself, and what overlaps it."""

        def own(value: ir.Value) -> ir.Value:
            return build.op("GatherElements", value, pick, axis=1)

        lengths = [
            build.op("Relu", build.op("Sub", build.op("Min", high, own(high)), build.op("Max", low, own(low))))
            for low, high in self.sides
        ]
        shared = build.op("Mul", *lengths)
        union = build.op("Sub", build.op("Add", self.area, own(self.area)), shared)
        # Of what shares nothing, or has no area, the overlap is 0.
        some = build.op("And", build.op("Greater", shared, 0.0), build.op("Greater", union, 0.0))
        ratio = build.op("Where", some, build.op("Div", shared, build.op("Where", some, union, 1.0)), 0.0)
        over = build.op("GreaterOrEqual", ratio, self.threshold)
        if self.labels is not None:
            over = build.op("And", over, build.op("Equal", self.labels, own(self.labels)))
        return build.op("Or", over, build.op("Equal", np.arange(self.count)[None], pick))


def _picked(
    build: Builder, best: ir.Value, overlap: _Overlap, images: int, count: int, turns: int
) -> tuple[ir.Value, ir.Value]:
    """The candidates picked, int64[images, turns], and their scores, GONE where none was left."""

    def step(inner: Builder, left: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        pick = inner.op("ArgMax", left, axis=1, keepdims=1)
        score = inner.op("GatherElements", left, pick, axis=1)
        return inner.op("Where", overlap.with_(inner, pick), GONE, left), pick, score

    if build.target.backend in TVM:
        steps = []
        for _ in range(turns):
            best, pick, score = step(build, best)
            steps.append((pick, score))
        picks, scores = (build.op("Concat", *part, axis=1) for part in zip(*steps, strict=True))
        return picks, scores
    inner = Builder(build.node, build.target)
    turn, going = (
        ir.Value(name=name, shape=ir.Shape([]), type=ir.TensorType(kind))
        for name, kind in (("turn", ir.DataType.INT64), ("going", ir.DataType.BOOL))
    )
    left = ir.Value(name="left", shape=ir.Shape([images, count]), type=ir.TensorType(ir.DataType.FLOAT))
    on = inner.op("Identity", going)
    outputs = (on, *step(inner, left))
    for value, kind, sizes in zip(
        outputs,
        (ir.DataType.BOOL, ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.FLOAT),
        ([], [images, count], [images, 1], [images, 1]),
        strict=True,
    ):
        value.dtype, value.shape = kind, ir.Shape(sizes)
    prefix = build.node.name
    for number, value in enumerate(value for made in inner.nodes for value in made.outputs):
        value.name = f"{prefix}/pick:{number}"
    for value in (turn, going, left):
        value.name = f"{prefix}/{value.name}"
    body = ir.Graph([turn, going, left], outputs, nodes=inner.nodes, name="pick", opset_imports={"": build.opset})
    _, picks, scores = build.ops("Loop", np.array(turns), np.array(True), best, outputs=3, body=body)
    turned = [build.op("Transpose", value, perm=[1, 0, 2]) for value in (picks, scores)]
    return tuple(build.op("Reshape", value, np.array([images, turns])) for value in turned)  # type: ignore[return-value]
