"""A piece of Python in a process with limits, forked or fresh: the same answers."""

from __future__ import annotations

import pytest

from enginesmith.converters.core import limited
from enginesmith.converters.core.limited import run_python


@pytest.fixture(params=["forked", "fresh"], autouse=True)
def how(request, monkeypatch):
    monkeypatch.setattr(limited, "threads_left", lambda: 1 if request.param == "forked" else 2)


@pytest.mark.parametrize(
    ("code", "status", "output"),
    [
        ("import sys; print(__name__, *sys.argv)", 0, "__main__ -c a b\n"),
        ("import os, sys; os.write(2, b'x'); sys.exit(7)", 7, "x"),
        ("raise SystemExit('why')", 1, "why\n"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
    ],
)
def test_what_it_prints_and_how_it_ends(code, status, output):
    assert run_python(code, ["a", "b"], 60, 2**40) == (status, output)


def test_an_exception():
    ended = run_python("def f():\n  raise ValueError('no')\nf()", [], 60, 2**40)
    assert ended.status == 1
    assert ended.output.startswith("Traceback")
    assert ended.output.endswith("ValueError: no\n")


def test_time_is_limited():
    assert run_python("import time; print('a', flush=True); time.sleep(60)", [], 0.5, 2**40) == (None, "a\n")


def test_memory_is_limited():
    ended = run_python("x = bytearray(2**36)", [], 60, 2**35)
    assert ended.status == 1
    assert "MemoryError" in ended.output
