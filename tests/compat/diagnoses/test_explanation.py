"""How a log is read: what counts as a cause, what as a cascade, and in how much memory."""

from __future__ import annotations

import tracemalloc
from io import BytesIO, RawIOBase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.compat.diagnoses import diagnose, diagnoses, explain_log, lines
from enginesmith.compat.diagnoses.lines import LONGEST

MIXED = "[E] ITensor::getDimensions: (add0: ElementWiseOperation SUM must have same input types. But they are of types Float and Half)"
CASCADE = "[E] Failed to parse onnx file\n[E] Engine set up failed\n&&&& FAILED TensorRT.trtexec"


def test_a_specific_cause_goes_before_a_symptom_above_it():
    explanation = diagnose(f"[!] Could not parse ONNX correctly\n{MIXED}\n{CASCADE}")
    assert explanation.cause.id == "trt-types-mixed"
    assert explanation.cause.line.number == 2
    assert not explanation.unknown


def test_of_two_causes_the_first():
    other = "RuntimeError: CUDA out of memory. Tried to allocate 2 MiB"
    for first, second in ((MIXED, other), (other, MIXED)):
        explanation = diagnose(f"{first}\n{second}")
        assert [explanation.cause.line.text, explanation.further[0].line.text] == [first, second]


def test_repeats_are_counted():
    explanation = diagnose(f"{MIXED}\n" * 5)
    assert (explanation.cause.count, explanation.further) == (5, [])


def test_an_error_that_the_tool_calls_a_warning_is_no_cause_beside_an_error():
    warned = "UserWarning: No Op registered for NoSuch with domain_version of 18"
    raised = "tvm.error.OpNotImplemented: The following operators are not supported for frontend ONNX: NoSuch"
    explanation = diagnose(f"{warned}\n{raised}")
    assert explanation.cause.id == "tvm-operators-unsupported"
    assert [hit.id for hit in explanation.warnings] == ["onnx-no-schema"]
    assert diagnose(warned).cause is None, "nothing failed"
    assert diagnose(f"{warned}\nKeyError: 'b'").cause.id == "onnx-no-schema", "the only thing that explains the error"


def test_a_warning_that_leads_to_an_error_is_its_cause():
    warning = "[W] Skipping tactic 0 due to insufficient memory on requested size of 100 detected for tactic 0."
    error = "[E] Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)"
    explanation = diagnose(f"{warning}\n{error}")
    assert explanation.cause.id == "trt-tactic-memory"
    assert [hit.id for hit in explanation.further] == ["trt-foreign-node"]
    assert diagnose(f"{error}\n{warning}").cause.id == "trt-foreign-node"


def test_what_source_code_in_a_traceback_says_is_no_message():
    log = """Traceback (most recent call last):
  File "a.py", line 1, in f
    raise ValueError("Unsupported ONNX opset version: 99")
  File "b.py", line 2, in g
    raise RuntimeError("CUDA out of memory")
           ^^^^^^^^^^^^
ValueError: something else
"""
    explanation = diagnose(log)
    assert explanation.cause is None
    assert [(quote.number, quote.text) for quote in explanation.unknown] == [(7, "ValueError: something else")]


def test_a_message_before_a_traceback_on_its_line_is_read():
    log = 'ERROR    Navigator: Command finished with unexpected error: Traceback (most recent call last):\n  File "a", line 1'
    assert diagnose(log).cause.id == "navigator-command-failed"


def test_a_log_without_an_error():
    explanation = diagnose("[I] Building engine\n[I] done, 0 errors\n")
    assert (explanation.cause, explanation.unknown, explanation.lines) == (None, [], 2)


def test_unknown_errors_are_kept_from_both_ends_and_once():
    log = "\n".join(f"[E] {chr(97 + i // 26)}{chr(97 + i % 26)} went wrong at {i}" for i in range(500))
    unknown = [quote.number for quote in diagnose(log).unknown]
    assert unknown == [*range(1, 13), *range(497, 501)]
    assert len(diagnose("[E] went wrong at 1\n[E] went wrong at 2").unknown) == 1


def test_the_tools_of_a_log():
    log = "&&&& RUNNING TensorRT.trtexec\nimport onnxruntime\n  File 'tvm/relax/x.py'"
    assert diagnose(log).tools == ["TensorRT", "trtexec", "ONNX Runtime", "TVM"]


class Endless(RawIOBase):
    """A log of `size` bytes, made as it is read."""

    def __init__(self, size: int, chunk: bytes) -> None:
        self.left, self.chunk = size, chunk

    def read(self, size: int = -1) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return (self.chunk * (size // len(self.chunk) + 1))[:size]


@pytest.mark.parametrize("chunk", [b"x", b"50%\r", b"[E] what is this\n", b"\xff\xfe\xfd", MIXED.encode() + b"\n"])
def test_memory_is_bounded(chunk, monkeypatch):
    """By the size of a block, whatever the size of the log."""
    monkeypatch.setattr(lines, "BLOCK", block := 1 << 14)
    diagnose("warm up")
    tracemalloc.start()
    try:
        explain_log(Endless(20 * block, chunk))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 25 * block  # a block as bytes, as text, and as lines of a few characters


def test_a_long_line_is_cut_and_the_next_one_read(monkeypatch):
    monkeypatch.setattr(lines, "BLOCK", 1 << 14)
    explanation = diagnose("y" * 50_000 + "\n" + MIXED)
    assert explanation.cause is not None
    assert (explanation.cause.id, explanation.cause.line.number) == ("trt-types-mixed", 2)
    assert diagnose("z" * LONGEST + MIXED).cause is None
    explanation = diagnose("50% \r" * 10_000 + MIXED)
    assert explanation.cause is not None, "what a bar wrote last"


@given(st.binary(max_size=2000))
def test_any_bytes_are_read(data):
    explain_log(BytesIO(data))


@given(
    st.lists(
        st.sampled_from(
            [d.example for d in diagnoses()] + ["Traceback (most recent call last):", '  File "a", line 1']
        ),
        max_size=12,
    )
)
def test_any_mixture_is_explained(lines):
    """A specific error is never behind a symptom, and nothing is said twice."""
    explanation = diagnose("\n".join(lines))
    hits = [*([explanation.cause] if explanation.cause else []), *explanation.further, *explanation.warnings]
    assert len({hit.id for hit in hits}) == len(hits)
    if explanation.cause is not None and explanation.cause.generic:
        assert all(hit.generic for hit in explanation.further)
