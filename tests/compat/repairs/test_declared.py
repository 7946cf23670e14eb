"""What a run would give, taken from the declared shapes; and TopK in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.families.topk import MAX_K
from enginesmith.compat.findings import Finding
from enginesmith.compat.target import Target
from enginesmith.converters.graphs.proof import runner
from enginesmith.converters.graphs.repair import repair_file

FLOAT, INT32, INT64 = 1, 6, 7
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, data=st.data())
def test_shapes(sizes: list[int], data: st.DataObject) -> None:
    count = int(np.prod(sizes))
    wanted = data.draw(st.sampled_from([[count], [1, count], [count, 1, 1], sizes[::-1]]))
    found = proof(
        "declared-shape", one_node("Reshape", sizes, [len(wanted)], dtypes=[FLOAT, INT64], outputs=[(FLOAT, wanted)])
    )
    assert found.agrees, found.reason
    larger = [*data.draw(SIZES), *(data.draw(st.integers(1, 3)) if size == 1 else size for size in sizes)]
    found = proof(
        "declared-shape", one_node("Expand", sizes, [len(larger)], dtypes=[FLOAT, INT64], outputs=[(FLOAT, larger)])
    )
    assert found.agrees, found.reason
    filled = one_node("ConstantOfShape", [len(sizes)], dtypes=[INT64], outputs=[(FLOAT, sizes)])
    found = proof("declared-shape", filled)
    assert found.agrees, found.reason


@settings(max_examples=15, deadline=None)
@given(sizes=SIZES, data=st.data())
def test_repeats(sizes: list[int], data: st.DataObject) -> None:
    wanted = [size * data.draw(st.integers(1, 3)) for size in sizes]
    model = one_node("Tile", sizes, [len(sizes)], dtypes=[FLOAT, INT64], outputs=[(FLOAT, wanted)])
    found = proof("declared-repeats", model)
    assert found.agrees, found.reason


@settings(max_examples=15, deadline=None)
@given(parts=st.lists(st.integers(0, 4), min_size=1, max_size=4), axis=st.integers(-2, 1))
def test_splits(parts: list[int], axis: int) -> None:
    def sized(size: int) -> list[int]:
        return [size, 3] if axis in (0, -2) else [3, size]

    model = one_node(
        "Split",
        *(sized(sum(parts)), [len(parts)]),
        dtypes=[FLOAT, INT64],
        outputs=[(FLOAT, sized(part)) for part in parts],
        axis=axis,
    )
    found = proof("declared-split", model)
    assert found.agrees, found.reason


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 6), data=st.data(), flags=st.tuples(st.booleans(), st.booleans()))
def test_counts(size: int, data: st.DataObject, flags: tuple[bool, bool]) -> None:
    k = data.draw(st.integers(1, size))
    model = one_node(
        "TopK",
        *([2, size], [1]),
        dtypes=[FLOAT, INT64],
        outputs=[(FLOAT, [2, k]), (INT64, [2, k])],
        largest=int(flags[0]),
        sorted=1,
    )
    found = proof("declared-k", model)
    assert found.agrees, found.reason
    coded = one_node(
        "OneHot",
        *([2, 3], [1] if flags[1] else [], np.array([0, 1], np.float32)),
        dtypes=[INT64, INT64],
        outputs=[(FLOAT, [2, 3, size] if flags[0] else [size, 2, 3])],
        axis=-1 if flags[0] else 0,
    )
    found = proof("declared-depth", coded)
    assert found.agrees, found.reason


def test_nothing_is_guessed_without_a_declared_shape() -> None:
    model = one_node("Reshape", [2, 3], [2], dtypes=[FLOAT, INT64], outputs=[(FLOAT, ["a", "b"])])
    with pytest.raises(NotApplicable, match="not declared"):
        repaired("declared-shape", model)
    constant = one_node("Reshape", [2, 3], np.array([3, 2]), outputs=[(FLOAT, [3, 2])])
    with pytest.raises(NotApplicable, match="a constant already"):
        repaired("declared-shape", constant)


@settings(max_examples=6, deadline=None)
@given(
    kind=st.sampled_from([FLOAT, INT32, INT64]), largest=st.booleans(), seed=st.integers(0, 99), more=st.integers(1, 99)
)
def test_topk_in_parts_keeps_the_order_of_equal_elements(kind: int, largest: bool, seed: int, more: int) -> None:
    k = MAX_K + more
    model = one_node(
        "TopK",
        *([2, k + 50], np.array([k])),
        dtypes=[kind],
        outputs=[(kind, [2, k]), (INT64, [2, k])],
        largest=int(largest),
        axis=1,
    )
    after, _ = repaired("topk-in-parts", model)
    feed: dict[str, Any] = {"x0": np.random.default_rng(seed).integers(-300, 300, [2, k + 50])}
    feed["x0"] = feed["x0"].astype(ir.DataType(kind).numpy())
    if kind == FLOAT:
        feed["x0"][0, ::7] = -np.inf if largest else np.inf
    expected, found = runner(model)(dict(feed)), runner(ir.to_proto(after), reference=False)(dict(feed))
    for old, new in zip(expected, found, strict=True):
        np.testing.assert_array_equal(new, old, strict=True)


def test_the_whole_graph_is_proved_with_what_the_declared_shapes_leave(tmp_path: Path) -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 18]>
    f (float[2, 6] x, int64[2] shape) => (float[3, 4] y) { a = Neg (x)  y = Reshape (a, shape) }
    """
    onnx.save(onnx.parser.parse_model(text), tmp_path / "before.onnx")

    def refused(path: Path) -> list[Finding]:
        nodes = [node for node in onnx.load(path).graph.node if node.input[1:] == ["shape"]]
        return [
            Finding(severity="error", op="Reshape", node="y", backend="tvm", versions="", message="run time")
            for _ in nodes
        ]

    report = repair_file(tmp_path / "before.onnx", tmp_path / "after.onnx", Target("tvm", "0.27"), refused)
    assert [attempt.repair for attempt in report.made] == ["declared-shape"]
    assert not report.left
    assert report.proof is not None
    assert report.proof.agrees, report.proof.reason
    assert report.proof.samples > 3
