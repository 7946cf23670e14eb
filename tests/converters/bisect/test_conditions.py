"""The grammar of conditions, and its messages."""

from __future__ import annotations

import pytest

from enginesmith.converters.backends import get_backend
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
        ("inconsistent on tvm", {"kind": "inconsistent", "found": "tvm", "backend": "tvm", "needs_sizes": True}),
        ("inconsistent on onnxruntime", {"kind": "inconsistent", "found": "onnxruntime", "backend": ""}),
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
        ("inconsistent on reference", ["did you mean 'inconsistent on"]),
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


def test_an_engine_that_runs_nowhere_here_contradicts_nothing(monkeypatch):
    backend = get_backend("tensorrt-rtx")
    monkeypatch.setattr(type(backend), "runnable", lambda self, target: "no GPU")
    with pytest.raises(UserError, match=r"can't be asked here: an engine for sm_89 doesn't run \(no GPU\)"):
        parse_condition("inconsistent on tensorrt-rtx")
