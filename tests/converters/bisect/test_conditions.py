"""The grammar of conditions, and its messages."""

from __future__ import annotations

import pytest

from enginesmith.converters.bisect.conditions import forms, parse_condition
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.graphs.tolerances import TOLERANCES


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("build on tensorrt-rtx", {"kind": "build", "backend": "tensorrt-rtx", "target": "sm_89"}),
        ("  Parse  on TVM ", {"kind": "parse", "backend": "tvm", "text": "parse on tvm"}),
        ("load in onnxruntime", {"kind": "load"}),
        ("run in onnxruntime", {"kind": "run", "needs_sizes": True}),
        ("check", {"kind": "check", "needs_sizes": False}),
        ("differs between onnxruntime and tvm by 1e-2", {"scale": 0.01, "relative": 0.01, "found": "tvm"}),
        (
            "differs between onnxruntime and reference",
            {"expected": "onnxruntime", "scale": TOLERANCES["fp32"].scale, "target": ""},
        ),
        ("command: My Tool --x {}", {"kind": "command", "command": "My Tool --x {}"}),
    ],
)
def test_conditions(text, fields):
    condition = parse_condition(text)
    assert {name: getattr(condition, name) for name in fields} == fields


def test_the_target_goes_to_the_backend():
    assert parse_condition("build on tensorrt-rtx", "8.6").target == "sm_86"
    with pytest.raises(UserError, match="sm_86"):
        parse_condition("build on tensorrt-rtx", "sm_85")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("buld on tensorrt-rxt", ["unknown condition", "did you mean 'build on tensorrt-rtx'"]),
        ("build on tensorrt-rtxx", ["unknown backend", "tensorrt-rtx"]),
        ("differs between onnxruntime and tmv by 1e-3", ["did you mean 'differs between onnxruntime and tvm'"]),
        ("differs between tvm and tvm", ["can't differ from itself"]),
        ("differs between onnxruntime and tvm by much", ["'much' is no tolerance"]),
        ("differs between onnxruntime and tvm by -1", ["must be 0 or more"]),
        ("differs between onnxruntime and tvm by nan", ["must be 0 or more"]),
        ("command: mytool", ["needs {}"]),
        ("it is bad", ["unknown condition", "'check'", "command: CMD {}"]),
        ("", ["unknown condition"]),
    ],
)
def test_what_is_no_condition(text, words):
    with pytest.raises(UserError) as error:
        parse_condition(text)
    for word in words:
        assert word in str(error.value)


def test_every_form_that_is_offered_parses():
    for form in forms():
        if "on tensorrt" not in form or form.endswith("rtx"):  # that one needs a GPU
            assert parse_condition(form).text == form
