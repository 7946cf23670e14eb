"""Judging candidates with real tools: crashes, endless runs, other failures, memory, and the end of the time."""

from __future__ import annotations

import sys
import time

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from bisect_graphs import chain, constant, model_of, value
from onnx import helper

from enginesmith.converters.bisect.conditions import parse_condition
from enginesmith.converters.bisect.judge import Failure, Judge, OutOfTime
from enginesmith.converters.core.errors import UserError

node = helper.make_node


def save(model, path):
    onnx.save(model, path)
    return path


@pytest.fixture
def judge(tmp_path):
    made = []

    def make(condition: str, **options) -> Judge:
        folder = tmp_path / f"candidates{len(made)}"
        folder.mkdir()
        made.append(Judge(parse_condition(condition), folder, **options))
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


def script(tmp_path, text: str) -> str:
    """A program that knows its model's operators only as bytes of the file, `data`: it imports nothing heavy."""
    path = tmp_path / "tool.py"
    path.write_text(f"import os, sys, time\ndata = open(sys.argv[1], 'rb').read()\n{text}\n")
    return f"command: {sys.executable} -I -S {path} {{}}"


@pytest.mark.parametrize(
    ("messages", "same"),
    [
        (["node conv_1 of [1, 3, 8]: bad", "node layer2/conv of [4]: bad"], True),
        (["creator 'A' was not found", "creator 'B' was not found"], True),
        (["was not found", "is not supported"], False),
        (["{ForeignNode[a...b]} has no tactic", "{ForeignNode[c]} has no tactic"], True),
    ],
)
def test_signatures_leave_out_names_and_numbers(messages, same):
    first, second = (Failure(step="build", message=message, op="Conv") for message in messages)
    assert (first.signature == second.signature) is same


def test_signatures_tell_operators_and_exit_statuses_apart():
    assert (
        Failure(step="parse", message="no", op="A").signature != Failure(step="parse", message="no", op="B").signature
    )
    statuses = [Failure(step="command", message=f"exit status {n}").signature for n in (1, 2)]
    assert statuses[0] != statuses[1]


def test_a_command_that_crashes_hangs_or_gives_up(tmp_path, judge):
    path = save(chain(3), tmp_path / "m.onnx")
    crashing = judge(script(tmp_path, "os.abort()")).first(path)
    assert crashing is not None
    assert "SIGABRT" in crashing.message
    hanging = judge(script(tmp_path, "time.sleep(60)"), timeout=1.5).first(path)
    assert hanging is not None
    assert "stopped" in hanging.message
    assert judge(script(tmp_path, "sys.exit(0)")).first(path) is None
    assert judge(script(tmp_path, "sys.exit(125)")).first(path) is None
    with pytest.raises(UserError, match="can't run the command"):
        judge("command: /no/such/tool {}").first(path)


def test_another_failure_is_not_the_failure(tmp_path, judge):
    """Without Erf the tool fails too, but in another way."""
    condition = script(tmp_path, "sys.exit(3 if b'Erf' in data else 4)")
    path = save(chain(3, bad=[1]), tmp_path / "m.onnx")
    other = ir.from_proto(chain(3))
    strict = judge(condition)
    assert strict.first(path).message == "exit status 3"
    assert strict.settle(ir.load(path))
    assert not strict.fails(other)
    lax = judge(condition, any_failure=True)
    assert lax.first(path)
    assert lax.settle(ir.load(path))
    assert lax.fails(other)


def test_equal_candidates_are_tested_once(tmp_path, judge):
    log = tmp_path / "log"
    condition = script(tmp_path, f"open({str(log)!r}, 'a').write('x'); sys.exit(1)")
    asked = judge(condition)
    asked.first(save(chain(3), tmp_path / "m.onnx"))
    for _ in range(3):
        assert asked.fails(ir.from_proto(chain(2)))
    assert asked.tests == 1
    assert log.read_text() == "xx"


def test_unsound_candidates_do_not_count(tmp_path, judge):
    """The whole model runs in ONNX Runtime, so a candidate that it can't even load is another matter."""
    asked = judge(script(tmp_path, "sys.exit(1)"))
    path = save(chain(3), tmp_path / "m.onnx")
    asked.first(path)
    assert asked.settle(ir.load(path))
    contradiction = model_of(
        [node("Add", ["x", "c"], ["y"])],
        [value("x", (2, 3))],
        [value("y", (2, 3))],
        [constant("c", np.ones(4, np.float32))],
    )
    assert not asked.fails(ir.from_proto(contradiction))
    assert asked.fails(ir.from_proto(chain(1)))


def test_the_time_ends_the_search_and_not_with_a_failure(tmp_path, judge):
    path = save(chain(3), tmp_path / "m.onnx")
    asked = judge(
        script(tmp_path, "time.sleep(60 if b'n1' in data and b'n2' not in data else 0); sys.exit(1)"), seconds=4
    )
    assert asked.first(path)
    started = time.monotonic()
    with pytest.raises(OutOfTime):
        asked.fails(ir.from_proto(chain(2)))
    assert time.monotonic() - started < 10
    with pytest.raises(OutOfTime):
        asked.fails(ir.from_proto(chain(1)))
