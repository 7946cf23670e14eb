"""What TVM's ONNX frontend converts without a word into something that computes another result.

Source of every rule: the converters in tvm/relax/frontend/onnx/onnx_frontend.py of 0.27, and a comparison of their
results with ONNX Runtime's over ONNX's node tests.
"""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import BROKEN, FRONTEND
from enginesmith.compat.target import TVM, Target
from enginesmith.compat.values import argument, attribute, constant, dtype, static_shape, used


@rule(
    "tvm-wrong-suppression",
    silent=True,
    ops="NonMaxSuppression",
    backends=TVM,
    versions=BROKEN,
    remedy="fold it into a constant",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
boxes (float[1, 6, 4] b, float[1, 1, 6] s, int64[1] most) => (int64[n, 3] kept) { kept = NonMaxSuppression (b, s, most) }
""",
)
def suppression(node: ir.Node, target: Target) -> str | None:
    """The limits of a NonMaxSuppression must be constants: for others TVM takes its own default, which keeps no box."""
    names = ("max_output_boxes_per_class", "iou_threshold", "score_threshold")
    given = [(name, argument(node, index)) for index, name in enumerate(names, 2)]
    lost = [name for name, value in given if value is not None and constant(value) is None]
    return f"{' and '.join(lost)} must be constant: TVM silently takes its default" if lost else None


@rule(
    "tvm-wrong-layer-statistics",
    silent=True,
    ops="LayerNormalization",
    backends=TVM,
    versions=BROKEN,
    remedy="compute them with ReduceMean and Sqrt",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
norm (float[2, 4] x, float[4] s) => (float[2, 4] y, float[2, 1] mean) { y, mean = LayerNormalization (x, s) }
""",
)
def layer_statistics(node: ir.Node, target: Target) -> str | None:
    """Of a LayerNormalization's outputs TVM computes the first one, and returns a zero for the others."""
    return "its outputs Mean and InvStdDev are zero in TVM" if used(node, 1) or used(node, 2) else None


@rule(
    "tvm-wrong-convtranspose",
    silent=True,
    ops="ConvTranspose",
    backends=TVM,
    versions=BROKEN,
    remedy="write it as pads and output_padding",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
up (float[1, 1, 3, 3] x, float[1, 2, 3, 3] w) => (float[1, 2, 10, 8] y) {
  y = ConvTranspose <strides = [3, 2], output_shape = [10, 8]> (x, w)
}
""",
)
def convtranspose(node: ir.Node, target: Target) -> str | None:
    """TVM doesn't read a ConvTranspose's attribute output_shape, so that its result has another size."""
    asked = attribute(node, "output_shape")
    if not asked:
        return None
    image, kernel = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    if image is not None and kernel is not None:
        ones, zeros = [1] * (len(image) - 2), [0] * (len(image) - 2)
        each = zip(
            image[2:],
            attribute(node, "kernel_shape") or kernel[2:],
            attribute(node, "strides") or ones,
            attribute(node, "dilations") or ones,
            attribute(node, "output_padding") or zeros,
            strict=True,
        )
        padded = any(attribute(node, "pads") or ()) or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        sizes = [stride * (size - 1) + (taps - 1) * gap + 1 + more for size, taps, stride, gap, more in each]
        if sizes == asked[-len(sizes) :] and not padded:
            return None
    return "TVM ignores its output_shape"


@rule(
    "tvm-wrong-spacetodepth",
    silent=True,
    ops="SpaceToDepth",
    backends=TVM,
    versions=BROKEN,
    remedy="write it as Reshape, Transpose, Reshape",
    source=FRONTEND,
    example="""
<ir_version: 13, opset_import: ["" : 28]>
depth (float[1, 2, 4, 4] x) => (float[1, 8, 2, 2] y) { y = SpaceToDepth <blocksize = 2, mode = "CRD"> (x) }
""",
)
def spacetodepth(node: ir.Node, target: Target) -> str | None:
    """TVM orders a SpaceToDepth's channels as mode DCR has them, whatever the mode."""
    return "TVM computes mode DCR where CRD is asked for" if attribute(node, "mode", "DCR") == "CRD" else None


@rule(
    "tvm-wrong-isinf",
    silent=True,
    ops="IsInf",
    backends=TVM,
    versions=BROKEN,
    remedy="compare with the infinity that is meant",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 20]>
infinite (float[3] x) => (bool[3] y) { y = IsInf <detect_negative = 0> (x) }
""",
)
def isinf(node: ir.Node, target: Target) -> str | None:
    """TVM doesn't read IsInf's attributes: infinities of both signs are found."""
    ignored = [name for name in ("detect_negative", "detect_positive") if attribute(node, name, 1) == 0]
    return f"TVM ignores {' and '.join(ignored)}" if ignored else None


@rule(
    "tvm-wrong-dropout-mask",
    silent=True,
    ops="Dropout",
    backends=TVM,
    versions=BROKEN,
    remedy="leave the mask out, or make it with ConstantOfShape",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
drop (float[3] x) => (float[3] y, bool[3] mask) { y, mask = Dropout (x) }
""",
)
def dropout_mask(node: ir.Node, target: Target) -> str | None:
    """TVM returns a Dropout's mask as float32, where ONNX has bool."""
    return "its mask is float32 in TVM" if used(node, 1) else None


@rule(
    "tvm-wrong-dropout-training",
    silent=True,
    ops="Dropout",
    backends=TVM,
    versions=BROKEN,
    remedy="export the model in eval mode",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
drop (float[3] x) => (float[3] y) <float ratio = {0.5}, bool training = {1}> { y = Dropout (x, ratio, training) }
""",
)
def dropout_training(node: ir.Node, target: Target) -> str | None:
    """TVM never drops anything: a Dropout in training mode passes its input on."""
    training, ratio = constant(argument(node, 2)), constant(argument(node, 1))
    if argument(node, 2) is None or (training is not None and not training.any()):
        return None
    return None if ratio is not None and not ratio.any() else "TVM ignores its training mode"


@rule(
    "tvm-wrong-batchnorm-training",
    silent=True,
    ops="BatchNormalization",
    backends=TVM,
    versions=BROKEN,
    remedy="export the model in eval mode",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
norm (float[2, 3, 4] x, float[3] s, float[3] b, float[3] m, float[3] v) => (float[2, 3, 4] y, float[3] am, float[3] av) {
  y, am, av = BatchNormalization <training_mode = 1> (x, s, b, m, v)
}
""",
)
def batchnorm_training(node: ir.Node, target: Target) -> str | None:
    """TVM weighs the running mean and variance of a BatchNormalization in training mode the other way round."""
    wrong = attribute(node, "training_mode", 0) == 1 and (used(node, 1) or used(node, 2))
    return "TVM computes other running statistics" if wrong else None


@rule(
    "tvm-wrong-expand",
    silent=True,
    ops="Expand",
    backends=TVM,
    versions=BROKEN,
    remedy="fold the shape into a constant",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
wide (float[2, 1] x, int64[3] sizes) => (float[a, b, c] y) { y = Expand (x, sizes) }
""",
)
def expand(node: ir.Node, target: Target) -> str | None:
    """A shape that Expand is given at run time is taken as it is, where ONNX broadcasts the input's own shape with it."""
    sizes = node.inputs[1]
    if sizes is None or constant(sizes) is not None or sizes.producer() is not None:
        return None
    return "its shape must be constant: TVM doesn't broadcast to one that is only known at run time"


@rule(
    "tvm-wrong-resize-10",
    silent=True,
    ops="Resize",
    backends=TVM,
    versions=BROKEN,
    remedy="raise the model's opset to 11 or later",
    source=FRONTEND,
    example="""
<ir_version: 6, opset_import: ["" : 10]>
up (float[1, 1, 2, 2] x) => (float[1, 1, 4, 4] y) <float[4] scales = {1, 1, 2, 2}> { y = Resize (x, scales) }
""",
)
def resize_10(node: ir.Node, target: Target) -> str | None:
    """TVM reads a Resize of opset 10, whose second input are the scales, as if that were the region of interest."""
    return "TVM takes its scales for the region of interest" if len(node.inputs) == 2 else None


@rule(
    "tvm-wrong-onehot-type",
    silent=True,
    ops="OneHot",
    backends=TVM,
    versions=BROKEN,
    remedy="make it of the integers 0 and 1, and choose between its values with Where",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
hot (int64[3] i) => (float[3, 4] y) <int64 depth = {4}, float[2] values = {0, 1}> { y = OneHot (i, depth, values) }
""",
)
def onehot_type(node: ir.Node, target: Target) -> str | None:
    """A OneHot's result is as wide as Python's numbers in TVM: float64 or int64, whatever its values are."""
    kind = dtype(argument(node, 2))
    if kind in (None, ir.DataType.DOUBLE, ir.DataType.INT64):
        return None
    return f"TVM gives its result another type than the {kind.name.lower()} of its values"
