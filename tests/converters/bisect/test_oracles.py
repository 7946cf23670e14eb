"""The questions that a child process answers about one file, with the real tools."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bisect_graphs import FLOAT, INT64, chain, constant, model_of, value
from onnx import helper
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata

from enginesmith.converters.bisect import oracles
from enginesmith.converters.bisect.conditions import parse_condition
from enginesmith.converters.bisect.feeds import RANGE, VALUE, make_feed
from enginesmith.converters.bisect.judge import EXAMINE, STANDARD
from enginesmith.converters.core.errors import UserError

node = helper.make_node


@pytest.fixture
def ask(asked, tmp_path):
    def ask(model: onnx.ModelProto, condition: str, standard: str = "nothing") -> dict[str, Any] | None:
        path = tmp_path / "asked.onnx"
        onnx.save(model, path)
        parsed = parse_condition(condition).model_dump()
        return asked.call(EXAMINE, str(path), parsed, standard, {}, timeout=120)

    return ask


def single(op: str) -> onnx.ModelProto:
    kind, shape = (INT64, (2, "n")) if op == "NonZero" else (FLOAT, (2, 3))
    return model_of([node(op, ["x"], ["y"], name="it")], [value("x", (2, 3))], [value("y", shape, kind)])


def gather(index: int) -> onnx.ModelProto:
    nodes = [node("Gather", ["x", "i"], ["y"])]
    return model_of(
        nodes, [value("x", (2, 3)), value("i", (1,), INT64)], [value("y", (1, 3))], [constant("i", [index])]
    )


@pytest.mark.parametrize(
    ("condition", "bad", "step"),
    [
        ("parse on tensorrt-rtx", "NonZero", "parse"),
        ("build on tensorrt-rtx", "NonZero", "parse"),
        ("parse on tvm", "Celu", "parse"),
        ("build on tvm", "Celu", "parse"),
    ],
)
def test_backends(ask, condition, bad, step):
    failure = ask(single(bad), condition)
    assert failure is not None
    assert failure["step"] == step
    assert ask(single("Relu"), condition) is None


def test_a_graph_that_parses_and_does_not_build(ask):
    boxes = model_of(
        [node("NonMaxSuppression", ["b", "s", "n"], ["y"])],
        [value("b", (1, 8, 4)), value("s", (1, 1, 8))],
        [value("y", ("k", 3), INT64)],
        [constant("n", [5])],
    )
    assert ask(boxes, "parse on tensorrt-rtx") is None
    assert ask(boxes, "build on tensorrt-rtx")["step"] == "build"


def test_the_checker_and_onnx_runtime(ask):
    broken = model_of([node("Relu", ["x"], ["y"], axis=3)], [value("x")], [value("y")])
    assert "axis" in ask(broken, "check")["message"]
    assert ask(broken, "load in onnxruntime") is not None
    assert ask(gather(7), "run in onnxruntime") is not None
    for condition in ("check", "load in onnxruntime", "run in onnxruntime"):
        assert ask(gather(1), condition) is None


def test_a_difference_between_two_runtimes(ask):
    assert ask(chain(2), "differs between onnxruntime and tvm") is None
    assert ask(chain(3), "differs between onnxruntime and reference") is None
    # Sigmoid is rounded otherwise, which no tolerance at all finds out
    assert ask(chain(3), "differs between onnxruntime and reference by 0")["step"] == "differs"


def test_what_can_not_be_compared_is_a_bad_request(ask):
    with pytest.raises(UserError, match="can't be asked"):
        ask(gather(7), "differs between onnxruntime and reference")
    with pytest.raises(UserError, match="can't be asked"):
        ask(single("Celu"), "differs between onnxruntime and tvm")


def test_standards(asked, tmp_path):
    contradiction = model_of(
        [node("Add", ["x", "c"], ["y"])],
        [value("x", (2, 3))],
        [value("y", (2, 3))],
        [constant("c", np.ones(4, np.float32))],
    )
    unknown = model_of([node("Foo", ["x"], ["y"])], [value("x")], [value("y")])
    cases = {"runs": gather(1), "loads": gather(7), "checked": contradiction, "nothing": unknown}
    for standard, model in cases.items():
        path = tmp_path / f"{standard}.onnx"
        onnx.save(model, path)
        assert asked.call(STANDARD, str(path), "runs", timeout=60) == standard


def test_a_model_below_the_standard_does_not_count(ask):
    assert ask(gather(7), "run in onnxruntime", "loads") is not None
    assert ask(gather(7), "run in onnxruntime", "runs") is None


def test_inputs_are_what_is_on_record(tmp_path: Path):
    model = model_of(
        [node("Relu", ["a"], ["y"])],
        [value("a", (50,)), value("b", (2,), INT64), value("c", (3,), INT64)],
        [value("y", (50,))],
    )
    model.graph.input[0].metadata_props.add(key=RANGE, value="[5, 6]")
    model.graph.input[1].metadata_props.add(key=VALUE, value="[1, -1]")
    feed = make_feed(model)
    assert feed["a"].dtype == np.float32
    assert 5 <= feed["a"].min() < feed["a"].max() <= 6
    assert feed["b"].tolist() == [1, -1]
    assert feed["c"].tolist() == [0, 0, 0]
    assert make_feed(model)["a"].tolist() == feed["a"].tolist()


def test_inputs_without_sizes_can_not_be_made():
    with pytest.raises(ValueError, match="dynamic"):
        make_feed(model_of([node("Relu", ["x"], ["y"])], [value("x", ("n", 2))], [value("y", ("n", 2))]))


def test_what_contradicts_itself(ask):
    """A graph that draws at random means it."""
    assert ask(single("Relu"), "inconsistent on onnxruntime") is None
    assert ask(single("RandomNormalLike"), "inconsistent on onnxruntime") is None


def test_an_engine_that_keeps_state_is_inconsistent(tmp_path, monkeypatch):
    path = tmp_path / "asked.onnx"
    onnx.save(single("Relu"), path)

    class Counting(BaseRunner):
        def activate_impl(self):
            self.calls = 0

        def infer_impl(self, feed_dict):
            self.calls += 1
            self.inference_time = 0.0
            return {"y": np.maximum(feed_dict["x"], 0) + np.float32(0.1 * self.calls)}

        def get_input_metadata_impl(self):
            return TensorMetadata().add("x", np.float32, (2, 3))

    monkeypatch.setattr(oracles, "built", lambda *arguments: nullcontext(Counting()))
    failure = oracles.ask(path, parse_condition("inconsistent on tvm"), {})
    assert failure is not None
    assert failure["step"] == "inconsistent"
    assert "call 2 with the same input: output y differs" in failure["message"]


def test_whether_what_can_not_run_is_inconsistent_is_not_known(ask):
    with pytest.raises(UserError, match="can't be asked"):
        ask(single("Celu"), "inconsistent on tvm")
