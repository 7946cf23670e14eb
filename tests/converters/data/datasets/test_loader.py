"""Data from a function of the user's, and all that can be wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import code, feeds, opened, samples, targets
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.data.datasets import Dataset
from enginesmith.converters.data.datasets.loader import Loader

VECTOR = samples("x:1x4")
TWO = samples("x:1x4 ids:1x6:int64")
BATCH = samples("x:4x4")
ROW = "np.ones(4, np.float32)"


@pytest.mark.parametrize(
    ("body", "labelled"),
    [
        (f"def load():\n    for i in range(20): yield {ROW}", False),
        (f"def load(): return [{ROW}] * 20", False),
        (f"def load(): return [({ROW}, 3)] * 20", True),
        (f"def load(): return [[{ROW}, 3]] * 20", True),
        (f"def load(): return [{{'x': {ROW}}}] * 20", False),
        (f"def load(): return [({{'x': {ROW}}}, 3)] * 20", True),
        (f"def load(): return [(({ROW},), 3)] * 20", True),
        ("def load(): return np.ones((20, 4), np.float32)", False),
        ("def load(): return [np.ones((10, 4), np.float32)] * 2", False),
        ("def load(): return [(np.ones((10, 4), np.float32), np.full(10, 3))] * 2", True),
        (f"def load(): return [([{ROW}] * 10, [3] * 10)] * 2", True),
        ("import torch\ndef load(): return [torch.ones(4)] * 20", False),
        ("import torch\ndef load(): return [torch.ones(4, dtype=torch.bfloat16, requires_grad=True)] * 20", False),
        (
            "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\n"
            "def load(): return DataLoader(TensorDataset(torch.ones(20, 4), torch.full((20,), 3)), 8, shuffle=True)",
            True,
        ),
        (f"class load:\n    def __iter__(self): return iter([{ROW}] * 20)", False),
        (f"class load:\n    def __len__(self): return 20\n    def __getitem__(self, i): return {ROW}, 3", True),
    ],
)  # fmt: skip
def test_forms(tmp_path: Path, body: str, labelled: bool) -> None:
    dataset = opened(code(tmp_path, body), VECTOR)
    assert (len(dataset), dataset.rows, dataset.labelled) == (20, 20, labelled)
    for example in dataset:
        np.testing.assert_array_equal(example.feed["x"], np.ones((1, 4), np.float32), strict=True)
        assert example.target == (3 if labelled else None)


@pytest.mark.parametrize(
    "item",
    [
        "(x, ids)",
        "[x, ids]",
        "{'ids': ids, 'x': x}",
        "((x, ids), 1)",
        "({'ids': ids, 'x': x}, 1)",
        "(x, ids, 1)",
    ],
)
def test_several_inputs(tmp_path: Path, item: str) -> None:
    body = f"def load():\n    x, ids = np.ones((1, 4)), np.ones((1, 6), np.int32)\n    return [{item}] * 3"
    dataset = opened(code(tmp_path, body), TWO)
    assert dataset.labelled == item.endswith("1)")
    assert [(name, array.shape, array.dtype) for name, array in feeds(dataset)[0].items()] == [
        ("x", (1, 4), np.float32),
        ("ids", (1, 6), np.int64),
    ]


def test_a_function_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As MODEL takes one; installed, or in the working directory."""
    package = tmp_path / "things_of_test"
    package.mkdir()
    (package / "rows.py").write_text(f"import numpy as np\ndef load(): return [{ROW}] * 20")
    monkeypatch.chdir(tmp_path)
    dataset = opened("things_of_test.rows:load", VECTOR)
    assert (dataset.name, dataset.rows) == ("rows:load", 20)
    with pytest.raises(UserError, match="has no function 'lode'; it has load"):
        opened("things_of_test.rows:lode", VECTOR)
    with pytest.raises(UserError, match=r"module things_of_test\.row can't be imported"):
        opened("things_of_test.row:load", VECTOR)
    with pytest.raises(UserError, match="there is no such file or folder"):
        opened("nothing_of_test.rows:load", VECTOR)


def test_rows_are_put_together_and_batches_are_split(tmp_path: Path) -> None:
    for size in (1, 2, 3, 4, 5, 8):
        body = f"""def load():
    x = np.arange(80.).reshape(20, 4)
    for at in range(0, 20, {size}): yield x[at : at + {size}], np.arange(at, min(at + {size}, 20))"""
        dataset = opened(code(tmp_path, body, f"data{size}"), BATCH)
        assert (len(dataset), dataset.rows) == (5, 20)
        x = np.concatenate([feed["x"] for feed in feeds(dataset)])
        np.testing.assert_array_equal(x, np.arange(80, dtype=np.float32).reshape(20, 4))
        assert np.concatenate(targets(dataset)).tolist() == list(range(20))


def test_targets_that_are_mappings_are_split(tmp_path: Path) -> None:
    body = "def load(): yield np.ones((2, 4)), {'boxes': np.ones((2, 5, 4)), 'labels': np.ones((2, 5))}"
    first, _ = targets(opened(code(tmp_path, body), VECTOR))
    assert {key: value.shape for key, value in first.items()} == {"boxes": (5, 4), "labels": (5,)}


def test_what_does_not_fill_a_batch_is_left_out(tmp_path: Path) -> None:
    dataset = opened(code(tmp_path, f"def load(): return [{ROW}] * 39"), BATCH)
    assert (len(dataset), dataset.rows) == (9, 36)
    assert dataset.warnings == ["data_of_test.py:load: the last 3 rows don't fill a batch and are left out"]
    with pytest.raises(UserError, match="3 rows don't fill a batch, and the graph takes 4 at once"):
        opened(code(tmp_path, f"def load(): return [{ROW}] * 3", "few"), BATCH)


def test_a_limit_is_rounded_up_to_whole_batches(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.ones((30, 4), np.float32))
    for spec in (code(tmp_path, f"def load(): return [{ROW}] * 30"), str(tmp_path / "data.npy")):
        dataset = opened(spec, BATCH, limit=10)
        assert (len(dataset), dataset.rows, dataset.warnings) == (3, 12, [])


def test_sizes_within_the_models_bounds(tmp_path: Path) -> None:
    model = samples("x:1..2..4x1..8..16")
    body = "def load():\n    for n in (1, 2, 3, 4, 6): yield np.ones((n, 2 * n + 4), np.float32)"
    found = [feed["x"].shape for feed in feeds(opened(code(tmp_path, body), model))]
    assert found == [(1, 6), (2, 8), (3, 10), (4, 12), (2, 16), (2, 16), (2, 16)]


def test_a_loader_without_end(tmp_path: Path) -> None:
    body = f"def load():\n    while True: yield {ROW}"
    assert len(opened(code(tmp_path, body), VECTOR, limit=50)) == 50


def test_calibration_leaves_targets_be(tmp_path: Path) -> None:
    assert len(opened(code(tmp_path, f"def load(): return [({ROW}, 3)] * 20"), VECTOR, role="calibration")) == 20


def test_random_numbers_are_seeded(tmp_path: Path) -> None:
    body = (
        "import random, torch\n"
        "def load():\n    for _ in range(8): yield np.random.rand(4) + torch.rand(4).numpy() + random.random()"
    )
    dataset = opened(code(tmp_path, body), VECTOR)
    one, again = feeds(dataset), feeds(dataset)
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(one, again, strict=True))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("rng = np.random.default_rng()\ndef load(): return rng.random((20, 4))", "example 1 is another one than the first"),
        ("it = iter(np.ones((20, 4)))\ndef load(): return it", "gave 20 examples the first time, and 0 then"),
        ("n = 20\ndef load():\n    global n; n += 1; return np.ones((n, 4))", "example 22 is another one"),
    ],
)  # fmt: skip
def test_a_loader_that_changes(tmp_path: Path, body: str, message: str) -> None:
    dataset = opened(code(tmp_path, body), VECTOR)
    with pytest.raises(UserError, match=f"data_of_test.py:load: {message}"):
        list(dataset)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def load(): pass", "the loader data_of_test.py:load returned None; return an iterable"),
        ("def load(): return []", "gave nothing; yield an array, a tuple or a mapping"),
        ("def load(): return 3", "returned a int; return an iterable of examples"),
        ("def load(): return {'x': 1}", "returned a dict; return an iterable of examples"),
        (
            "def load(path): yield 1",
            r"data_of_test.py:load failed: TypeError: .*missing 1 required positional argument",
        ),
        ("def loader(): yield 1", "has no function 'load'; it has loader"),
        ("load = 3", "has no function 'load'"),
        (
            "import nothing_of_the_kind\ndef load(): pass",
            r"can't be imported: ModuleNotFoundError.*\(data_of_test.py:2\)",
        ),
        ("def load(:", "can't be imported: SyntaxError"),
        (
            f"def load():\n    yield {ROW}\n    raise ValueError('a\\nb')",
            r"load, example 1 failed: ValueError: a \(data_of_test.py:4\)",
        ),
        (
            "def load():\n    import sys; sys.exit(1)\n    yield 1",
            r"example 0 failed: SystemExit: 1 \(data_of_test.py:3\)",
        ),
        ("def load(): yield None", "load, example 0 is None; yield an array"),
        ("def load(): yield 'a.jpg'", "example 0: input x: a str where an array is expected"),
        ("def load(): yield object()", "input x: object of object; give an array of numbers"),
        ("def load(): yield (1, 2, 3)", "example 0 has 3 arrays, and the model's inputs are x"),
        (f"def load(): yield {{'y': {ROW}}}", "has no x and has y too; the model's inputs are x"),
        (f"def load(): yield {{'x': {ROW}, 'y': 1}}", "example 0 has y too; the model's inputs are x"),
        ("def load(): yield np.ones((2, 4)), 1", "2 rows, and one target; give one target for each row"),
        ("def load(): yield np.ones((2, 4)), [1, 2, 3]", "2 rows, and 3 targets"),
        (f"def load():\n    yield {ROW}, 1\n    yield {ROW}", "1 of 2 examples have no target"),
        ("def load(): yield [np.ones(3), np.ones(4)], 1", r"shapes \[3\], \[4\] is no batch"),
    ],
)
def test_a_loader_that_is_wrong(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(code(tmp_path, body), VECTOR)


LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    arrays.arrays(
        st.sampled_from(["f4", "f8", "i8", "u1", "?", "O", "<U2"]), arrays.array_shapes(min_dims=0, max_side=5)
    ),
    st.sampled_from([(4,), (1, 4), (2, 4), (3, 4), (2, 6), (6,), ()]).map(np.ones),
)
ROWS = st.sampled_from([(4,), (1, 4), (2, 4), (3, 4)]).map(np.ones)
ITEM = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, min_size=2, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["x", "ids", "y", 3]), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    ITEM | st.lists(ITEM, max_size=5) | st.lists(ROWS, max_size=5) | st.lists(st.tuples(ROWS, ITEM), max_size=3),
    st.sampled_from(["x:1x4", "x:2x4", "x:1x4 ids:1x6:int64", "x:scalar", "x:4"]),
)
def test_whatever_a_loader_gives_fits_or_is_refused(content: Any, shape: str) -> None:
    model = samples(shape)
    loader = Loader.__new__(Loader)
    loader.name, loader.specs, loader.seed, loader.call = "load", model.specs, 0, lambda: content
    try:
        dataset = Dataset(loader, model.specs, "unit", 64)
    except UserError:
        return
    assert len(dataset) > 0
    for example in dataset:
        for spec, (name, array) in zip(model.specs, example.feed.items(), strict=True):
            assert (name, array.shape, array.dtype) == (spec.name, spec.opt, spec.dtype)
            assert np.isfinite(array).all()


def test_inputs_without_a_common_batch_axis(tmp_path: Path) -> None:
    body = "def load(): yield np.ones((3, 4)), np.ones(3)"
    with pytest.raises(
        UserError, match=r"got x \[3, 4\], scale \[3\], wanted x \[N,4\], scale \[3\]; .*no batch axis in common"
    ):
        opened(code(tmp_path, body), samples("x:2x4 scale:3"))
