"""A node that ONNX Runtime refuses whatever the model's input is: no other SHAPE helps, and its attributes or constants are wrong."""

from __future__ import annotations

import re
from pathlib import Path

_REFUSED = re.compile(
    r"while running (?P<op>\w+) node\. ?Name: ?'(?P<name>[^']{1,300})' ?Status Message: ?(?P<message>.+)", re.S
)
_PLACE = re.compile(r"^\S+\.(?:cc|h):\d+ \S.*?\) (?=\w)")
"""Where in ONNX Runtime's sources an assertion stands: the file, the line and the function."""


def wrong(model: Path, error: Exception) -> str:
    """What is wrong with the node of the ONNX file that ONNX Runtime names in `error`, and what to do; empty where it names none, or
    where what the node is given may be to blame."""
    import onnx_ir as ir

    from enginesmith.compat.checks.quantization import unfit_scales
    from enginesmith.compat.graphs import infer
    from enginesmith.compat.operators import QUANTIZING
    from enginesmith.compat.values import constant_tensor, label

    told = _REFUSED.search(str(error))
    if told is None:
        return ""
    found = [node for node in infer(ir.load(model)).graph.all_nodes() if label(node) == told["name"]]
    if len(found) != 1 or found[0].op_type != told["op"]:
        return ""
    node = found[0]
    if node.op_type in QUANTIZING and (unfit := unfit_scales(node)):
        return f"node {told['name']} ({node.op_type}) can't be computed for any input: {unfit}"
    if node.inputs and all(value is None or constant_tensor(value) is not None for value in node.inputs):
        message = _PLACE.sub("", " ".join(told["message"].split()))
        return (
            f"node {told['name']} ({node.op_type}) reads constants alone and can't be computed: {message}; "
            "correct its attributes or constants"
        )
    return ""
