"""Samples that show what a graph's operators do: another operator in an operator's place is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from enginesmith.converters.core.inputs import resolve_inputs
from enginesmith.converters.data.samples import make_samples
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.graphs.exercise import Exercised, exercise
from enginesmith.converters.graphs.tolerances import TOLERANCES, Apart


def saved(folder: Path, name: str, graph: str) -> Path:
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> main {graph}')
    onnx.checker.check_model(model)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def runner(path: Path) -> Any:
    session = onnxruntime.session(path, optimize=False)
    names = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(None, dict(feed)), strict=True))


def exercised(path: Path, *, strict: bool = False, pace: float = 1e-4) -> Exercised:
    """With ONNX Runtime as the reference."""
    samples, feeds = make_samples(resolve_inputs(describe(path).inputs, ()), "tensor", 3, 0)
    run = runner(path)
    ordinary = [run(feeds[index]) for index in samples.ordinary()]
    return exercise(path, samples, feeds, ordinary, run, pace, path.parent, strict=strict)


def unseen(found: Exercised) -> Mapping[str, list[str]]:
    assert found.coverage is not None
    return {each.op: each.unseen for each in found.coverage.unexercised}


def noticed(mutant: Path, found: Exercised) -> bool:
    """Does a sample show that it is another graph?"""
    run, tolerance = runner(mutant), TOLERANCES["fp32"]
    for feed, expected in zip(found.feeds, found.results, strict=True):
        try:
            outputs = run(feed)
        except Exception:  # noqa: BLE001 - ONNX Runtime's exceptions share no base
            return True
        for name, array in expected.items():
            if Apart.of(array, outputs[name]).excess(tolerance.scale, tolerance.relative) > 1:
                return True
    return False


FLOATS = "(float[1, 8] x) => (float[1, 8] y)"
PAIR = "(float[2, 8] x, float[2, 8] z) => (float[2, 8] y)"
WHOLE = "(int64[1, 8] x) => (int64[1, 8] y)"
TABLE = "(int64[1, 8] x) => (float[1, 8, 2] y) <float[300, 2] t>"
MUTANTS = {
    "Relu": (f"{FLOATS} {{ y = Relu (x) }}", f"{FLOATS} {{ y = Abs (x) }}"),
    "LeakyRelu": (f"{FLOATS} {{ y = LeakyRelu (x) }}", f"{FLOATS} {{ y = Abs (x) }}"),
    "Elu": (f"{FLOATS} {{ y = Elu (x) }}", f"{FLOATS} {{ y = Relu (x) }}"),
    "PRelu": (f"{FLOATS} <float[1] s = {{0.25}}> {{ y = PRelu (x, s) }}", f"{FLOATS} {{ y = Identity (x) }}"),
    "Where": (
        f"{FLOATS} <float zero = {{0}}> {{ n = Neg (x) p = GreaterOrEqual (x, zero) y = Where (p, x, n) }}",
        f"{FLOATS} {{ y = Identity (x) }}",
    ),
    "Clip": (
        f"{FLOATS} <float a = {{-20}}, float b = {{20}}> {{ y = Clip (x, a, b) }}",
        f"{FLOATS} {{ y = Identity (x) }}",
    ),
    "Exp": (
        f"{FLOATS} {{ y = Exp (x) }}",
        f"{FLOATS} <float b = {{88}}, float a = {{-1000}}> {{ c = Clip (x, a, b) y = Exp (c) }}",
    ),
    "Round": (
        f"{FLOATS} {{ y = Round (x) }}",
        f"{FLOATS} <float h = {{0.5}}> {{ m = Add (x, h) y = Floor (m) }}",
    ),
    "Sign": (
        f"{FLOATS} {{ y = Sign (x) }}",
        f"{FLOATS} <float z = {{0}}, float o = {{1}}, float m = {{-1}}> {{ p = Greater (x, z) y = Where (p, o, m) }}",
    ),
    "Max": (
        f"{PAIR} {{ y = Max (x, z) }}",
        f"{PAIR} <float zero = {{0}}> {{ d = Sub (x, z) e = Relu (d) y = Add (z, e) }}",
    ),
    "Add": (f"{PAIR} {{ y = Add (x, z) }}", f"{PAIR} {{ a = Abs (x) b = Abs (z) y = Add (a, b) }}"),
    "ArgMax": (
        "(float[4, 8] x) => (int64[4, 1] y) { y = ArgMax <axis = 1> (x) }",
        "(float[4, 8] x) => (int64[4, 1] y) { y = ArgMax <axis = 1, select_last_index = 1> (x) }",
    ),
    "TopK": (
        "(float[4, 8] x) => (float[4, 2] v, int64[4, 2] y) <int64[1] k = {2}> { v, y = TopK (x, k) }",
        "(float[4, 8] x) => (float[4, 2] v, int64[4, 2] y) <int64[1] k = {2}> { n = Neg (x) w, y = TopK <largest = 0> (n, k) "
        "v = Neg (w) }",
    ),
    "Div": (
        f"{WHOLE} <int64 k = {{3}}> {{ y = Div (x, k) }}",
        f"{WHOLE} <int64 k = {{3}}> {{ m = Mod (x, k) s = Sub (x, m) y = Div (s, k) }}",
    ),
    "Mul of 64 bits": (
        f"{WHOLE} <int64 k = {{3}}> {{ y = Mul (x, k) }}",
        f"{WHOLE} <int32 k = {{3}}> {{ i = Cast <to = 6> (x) m = Mul (i, k) y = Cast <to = 7> (m) }}",
    ),
    "ReduceMax": (
        "(float[2, 8] x) => (float[2, 1] y) { y = ReduceMax <axes = [1]> (x) }".replace(
            "<axes = [1]> (x)", "(x, a)"
        ).replace("=> (float[2, 1] y)", "=> (float[2, 1] y) <int64[1] a = {1}>"),
        "(float[2, 8] x) => (float[2, 1] y) <int64[1] a = {1}> { p = Relu (x) y = ReduceMax (p, a) }",
    ),
}


@pytest.mark.parametrize("name", [name for name in MUTANTS if name != "TopK"])
def test_another_operator_is_noticed(tmp_path: Path, name: str) -> None:
    right, wrong = (
        saved(tmp_path, label, graph) for label, graph in zip(("right", "wrong"), MUTANTS[name], strict=True)
    )
    found = exercised(right)
    assert not unseen(found)
    assert not noticed(right, found)
    assert noticed(wrong, found)


def branch(then: str, otherwise: str) -> str:
    return (
        "(float[4] x) => (float[4] y) <float c = {40}> { s = ReduceMax <keepdims = 0> (x) p = Greater (s, c) "
        f"y = If (p) <then_branch = t () => (float[4] a) {{ a = {then} (x) }}, "
        f"else_branch = e () => (float[4] b) {{ b = {otherwise} (x) }}> }}"
    )


def test_both_branches_are_taken(tmp_path: Path) -> None:
    found = exercised(saved(tmp_path, "right", branch("Neg", "Identity")))
    assert not unseen(found)
    assert noticed(saved(tmp_path, "wrong", branch("Identity", "Identity")), found)
    assert noticed(saved(tmp_path, "wrong", branch("Neg", "Neg")), found)


def test_a_whole_table_is_read(tmp_path: Path) -> None:
    """Up to its ends, and never beyond them."""
    rows = np.arange(600, dtype=np.float32).reshape(300, 2)
    for name, dtype in (("wide", onnx.TensorProto.INT64), ("narrow", onnx.TensorProto.INT32)):
        graph = onnx.helper.make_graph(
            [
                onnx.helper.make_node("Cast", ["ids"], ["wide"], to=onnx.TensorProto.INT64),
                onnx.helper.make_node("Gather", ["t", "wide"], ["y"]),
            ],
            "g",
            [onnx.helper.make_tensor_value_info("ids", dtype, [2, 5])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 5, 2])],
            [onnx.numpy_helper.from_array(rows, "t")],
        )
        path = tmp_path / f"{name}.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)
        found = exercised(path)
        ids = np.concatenate([feed["ids"].ravel() for feed in found.feeds])
        assert not unseen(found)
        assert (ids.min(), ids.max()) == (0, 299)
        assert found.coverage is not None
        assert not found.coverage.refused


def test_what_no_sample_can_show_is_not_asked_for(tmp_path: Path) -> None:
    graph = f"{FLOATS} <float a = {{-1}}, float b = {{2}}> {{ s = Sigmoid (x) c = Clip (s, a, b) y = Relu (c) }}"
    found = exercised(saved(tmp_path, "bounded", graph))
    assert found.coverage is not None
    assert (found.coverage.conditions, unseen(found)) == (1, {})


def test_what_was_not_shown_is_told(tmp_path: Path) -> None:
    graph = (
        f"{FLOATS} {{ s = Sin (x) c = Cos (x) p = Mul (s, s) q = Mul (c, c) t = Add (p, q) y = Floor (t) z = Neg (y) }}"
    )
    found = exercised(saved(tmp_path, "unseen", graph))
    assert found.coverage is not None
    assert found.coverage.told == ""
    narrow = f"{FLOATS} <float f = {{1e-30}}> {{ s = Mul (x, f) h = Softsign (s) y = HardSwish (h) }}"
    found = exercised(saved(tmp_path, "narrow", narrow))
    assert unseen(found) in ({}, {"HardSwish": ["an input below -3", "an input above 3"]})


def test_a_search_finds_what_probes_do_not_show(tmp_path: Path) -> None:
    """The mean must lie in a narrow place that only a way of small steps leads to."""
    graph = (
        "(float[1, 8] x) => (float[1, 8] y) <float a = {3.0}, float k = {0.01}, int64[1] axes = {1}> "
        "{ m = ReduceMean (x, axes) d = Sub (m, a) b = Abs (d) n = Sub (k, b) r = Relu (n) y = Add (x, r) }"
    )
    found = exercised(saved(tmp_path, "hidden", graph))
    assert found.coverage is not None
    assert not unseen(found)
    assert found.coverage.searched >= 1
    assert [sample.name for sample in found.samples.samples][-1].startswith("searched")


def test_samples_are_the_same_each_time(tmp_path: Path) -> None:
    path = saved(tmp_path, "again", f"{FLOATS} {{ y = Relu (x) }}")
    first, again = exercised(path), exercised(path)
    assert first.samples == again.samples
    for one, other in zip(first.feeds, again.feeds, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])


def test_a_slow_model_gets_few_samples(tmp_path: Path) -> None:
    path = saved(tmp_path, "slow", f"{FLOATS} {{ y = Relu (x) }}")
    counts = [len(exercised(path, pace=pace).feeds) for pace in (1e-4, 0.3, 2.0)]
    assert counts[0] > counts[1] > counts[2] == 4


def test_pytorch_leaves_equal_elements_and_overflow_open(tmp_path: Path) -> None:
    """No probe fails a right graph there; ONNX says which of equal elements comes first."""
    sort = saved(tmp_path, "sort", MUTANTS["TopK"][0])
    strict, loose = exercised(sort, strict=True), exercised(sort)
    assert "ties" in [sample.name for sample in loose.samples.samples]
    assert "ties" not in [sample.name for sample in strict.samples.samples]
    assert not unseen(strict)
    cast = saved(tmp_path, "cast", "(float[1, 8] x) => (uint8[1, 8] y) { y = Cast <to = 2> (x) }")
    for feed in exercised(cast, strict=True).feeds:
        assert (feed["x"] > -1).all()
        assert (feed["x"] < 256).all()


@pytest.mark.parametrize(
    "graph",
    [
        "(float[1, 8, 4] b, float[1, 1, 8] s) => (int64[?, 3] y) <int64 n = {8}> { y = NonMaxSuppression (b, s, n) }",
        f"{FLOATS} <int64[1, 8] i = {{0, 0, 1, 1, 2, 2, 3, 3}}, float[1, 8] z = {{0, 0, 0, 0, 0, 0, 0, 0}}> "
        '{ y = ScatterElements <axis = 1, reduction = "max"> (z, i, x) }',
    ],
)
def test_nan_has_no_place_where_elements_are_ordered(tmp_path: Path, graph: str) -> None:
    for feed in exercised(saved(tmp_path, "ordered", graph), strict=True).feeds:
        assert not any(np.isnan(array).any() for array in feed.values())


def test_data_that_decide_sizes_stay_small(tmp_path: Path) -> None:
    graph = "(int64[2] n) => (float[?, ?] y) { y = ConstantOfShape (n) }"
    found = exercised(saved(tmp_path, "sizes", graph))
    assert max(int(np.abs(feed["n"]).max()) for feed in found.feeds) <= 1000


def test_a_probe_that_takes_too_long_ends_probing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enginesmith.converters.graphs.exercise.SLOWEST", 0.2)
    path = saved(tmp_path, "loop", f"{FLOATS} {{ y = Relu (x) }}")
    samples, feeds = make_samples(resolve_inputs(describe(path).inputs, ()), "tensor", 2, 0)
    run = runner(path)
    calls = 0

    def reference(feed: Any) -> Any:
        nonlocal calls
        calls += 1
        while calls == 2:
            pass
        return run(feed)

    ordinary = [run(feeds[index]) for index in samples.ordinary()]
    found = exercise(path, samples, feeds, ordinary, reference, 1e-4, tmp_path, strict=True)
    assert calls == 2
    assert len(found.feeds) == len(ordinary) + 1
    assert found.coverage is not None
    assert "more than 0.2 s" in found.coverage.refused[0]
