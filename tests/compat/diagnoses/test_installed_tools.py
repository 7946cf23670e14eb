"""The messages of the tools as they are installed: each provoked here, so that a new version that words one anew is noticed."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest

from enginesmith.compat.diagnoses import diagnose

HEADER = '<ir_version: 9, opset_import: ["" : 18]> g (float[1, 3] x) => (float[1, 3] y)'


def model(body: str, header: str = HEADER) -> onnx.ModelProto:
    return onnx.parser.parse_model(f"{header} {{ {body} }}")


def check(body: str, header: str = HEADER) -> Callable[[], object]:
    return lambda: onnx.checker.check_model(model(body, header), full_check=True)


def session(body: str, header: str = HEADER) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model(body, header).SerializeToString(), providers=["CPUExecutionProvider"])


def run(feed: dict[str, np.ndarray]) -> Callable[[], object]:
    return lambda: session("y = Relu (x)").run(None, feed)


MIXED = HEADER.replace("x)", "x, float16[1, 3] z)")


@pytest.mark.parametrize(
    ("provoke", "expected", "op"),
    [
        (check("y = NoSuch (x)"), "onnx-no-schema", "NoSuch"),
        (check("y = Relu (b) b = Relu (x)"), "onnx-not-sorted", "Relu"),
        (check("y = Relu <foo = 1> (x)"), "onnx-bad-attribute", "Relu"),
        (check("y = Add (x)"), "onnx-bad-arity", "Add"),
        (check("y = Relu (x)", HEADER.replace("ir_version: 9", "ir_version: 99")), "onnx-ir-too-new", ""),
        (check("y = Relu (x)", HEADER.replace("3] y", "4] y")), "onnx-shape-conflict", "Relu"),
        (check("y = Add (x, z)", MIXED), "onnx-type-conflict", "Add"),
        (lambda: session("y = Add (x, z)", MIXED), "ort-types-mixed", "Add"),
        (lambda: session("y = MatMul (x, x)"), "onnx-shapes-incompatible", "MatMul"),
        (lambda: session("y = Relu (x)", HEADER.replace("ir_version: 9", "ir_version: 99")), "ort-ir-too-new", ""),
        (run({"x": np.ones((2, 3), np.float32)}), "ort-input-shape", ""),
        (run({"x": np.ones((1, 3))}), "ort-input-type", ""),
        (run({"z": np.ones((1, 3), np.float32)}), "ort-input-name", ""),
        (lambda: onnxruntime.InferenceSession("no-such-file.onnx"), "ort-no-file", ""),
        (lambda: onnx.load_from_string(b"version https://git-lfs"), "onnx-not-a-model", ""),
    ],
)
def test_a_message_of_today(provoke, expected, op):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each tool has its own
        provoke()
    explanation = diagnose("".join(traceback.format_exception(raised.value)))
    assert explanation.cause is not None
    assert (explanation.cause.id, explanation.cause.op) == (expected, op)
