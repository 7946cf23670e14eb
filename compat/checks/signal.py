"""Signal processing for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, constant_tensor, shape


@rule(
    "stft-parameters",
    ops="STFT",
    backends=TENSORRT,
    remedy="give frame_step and window as constants, and a real signal",
    source="messages of the parser of tensorrt-rtx 1.7; onnx-tensorrt docs/Changelog.md, 10.5",
    example="""
<ir_version: 10, opset_import: ["" : 17]>
spectrum (float[1, 32, 1] x, int64 step) => (float[1, n, 9, 2] y) <int64 length = {16}> { y = STFT (x, step, , length) }
""",
)
def stft_parameters(node: ir.Node, target: Target) -> str | None:
    """The signal is real; frame_step, window and frame_length are constants."""
    sizes = shape(argument(node, 0))
    if sizes and len(sizes) == 3 and sizes[2] == 2:
        return "its signal is complex"
    names = ((1, "frame_step"), (2, "window"), (3, "frame_length"))
    found = [
        name
        for index, name in names
        if argument(node, index) is not None and constant_tensor(argument(node, index)) is None
    ]
    return f"its {found[0]} is no constant" if found else None
