""".npz and .npy, as one file or a folder of them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import feeds, opened, samples, targets

from enginesmith.converters.core.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.random((20, 3, 32, 32), np.float32)
VECTOR = samples("x:1x4")
TWO = samples("x:1x4 ids:1x6:int64")


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_of_an_npz(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "data.npz", x=X, labels=np.arange(20))
    dataset = opened(tmp_path / "data.npz")
    assert (len(dataset), dataset.rows, dataset.labelled, dataset.weak) == (20, 20, True, False)
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds(dataset)]), X)
    assert [int(target) for target in targets(dataset)] == list(range(20))


def test_a_limit_draws_rows(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X, y=np.arange(20))
    found = [int(target) for target in targets(opened(path, limit=5))]
    assert len(found) == 5
    assert found != list(range(5))
    for feed, number in zip(feeds(opened(path, limit=5)), found, strict=True):
        np.testing.assert_array_equal(feed["x"][0], X[number])


def test_calibration_and_evaluation_on_the_same_file(tmp_path: Path) -> None:
    """What is measured is not what was calibrated on."""
    path = npz(tmp_path, x=X)

    def rows(**options: Any) -> set[bytes]:
        return {feed["x"].tobytes() for feed in feeds(opened(path, **options))}

    assert not rows(role="calibration", limit=10) & rows(limit=10)
    assert len(rows(role="calibration", limit=15) & rows(limit=10)) == 5, "there are 20"


def test_an_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", X)
    dataset = opened(tmp_path / "data.npy")
    assert not dataset.labelled
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds(dataset)]), X)


def test_a_single_array_may_have_any_name(tmp_path: Path) -> None:
    assert len(opened(npz(tmp_path, arr_0=X))) == 20
    assert opened(npz(tmp_path, pictures=X, targets=np.zeros(20))).labelled


def test_an_input_called_as_targets_are(tmp_path: Path) -> None:
    dataset = opened(npz(tmp_path, y=np.zeros((20, 4), np.float32), labels=np.arange(20)), samples("y:1x4"))
    assert feeds(dataset)[0]["y"].shape == (1, 4)
    assert [int(target) for target in targets(dataset)] == list(range(20))


def test_fortran_order(tmp_path: Path) -> None:
    table = np.asfortranarray(RNG.random((20, 4), np.float32))
    path = npz(tmp_path, x=table)
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in feeds(opened(path, VECTOR))]), table)


def test_each_row_may_be_a_whole_feed(tmp_path: Path) -> None:
    model = samples("x:2x4 scale:scalar bias:3")
    path = npz(tmp_path, x=np.ones((9, 2, 4), np.float32), scale=np.arange(9.0), bias=np.ones((9, 3), np.float32))
    found = feeds(opened(path, model))
    assert len(found) == 9
    assert {name: array.shape for name, array in found[0].items()} == {"x": (2, 4), "scale": (), "bias": (3,)}
    assert [float(feed["scale"]) for feed in found] == list(range(9))


def test_several_inputs_in_the_models_order(tmp_path: Path) -> None:
    path = npz(tmp_path, ids=np.ones((20, 6), np.int32), x=np.ones((20, 4), np.float16))
    (first, *_) = feeds(opened(path, TWO))
    assert [*first] == ["x", "ids"]
    assert [array.dtype for array in first.values()] == [np.float32, np.int64]


def test_detections_padded_to_one_size(tmp_path: Path) -> None:
    boxes, labels = np.ones((20, 5, 4), np.float32), np.full((20, 5), -1)
    labels[:, :2] = 7
    (first, *_) = targets(opened(npz(tmp_path, x=X, boxes=boxes, labels=labels), samples(task="detection")))
    assert first["boxes"].shape == (2, 4)
    assert first["labels"].tolist() == [7, 7]


def test_a_folder_of_files(tmp_path: Path) -> None:
    for number in range(20):
        np.savez(tmp_path / f"{number:02}.npz", x=X[number], label=number)
    dataset = opened(tmp_path)
    assert [int(target) for target in targets(dataset)] == list(range(20))
    np.testing.assert_array_equal(feeds(dataset)[3]["x"], X[3:4])
    (tmp_path / "03.npz").unlink()
    np.save(tmp_path / "03.npy", X[3])
    with pytest.raises(UserError, match="1 of 20 examples have no target; give all of them one, or none"):
        opened(tmp_path)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = npz(tmp_path, x=np.zeros((rows, 3, 32, 32), np.float32))
        opened(path, limit=rows)
        tracemalloc.start()
        for _ in opened(path, limit=rows):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(50), peak(2000)
    assert many - few < 1_000_000, "24 MB of rows"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": X, "w": X}, r"has no array for the input x; it has z, w; name the arrays as the model's inputs"),
        ({"X1": X, "labels": X, "other": X}, "no array for the input x"),
        ({"x": X, "labels": np.arange(3)}, "different numbers of examples: x 20, labels 3"),
        ({"x": np.float32(3)}, "x is a single number; the first axis"),
        ({"x": X[:0]}, "there is nothing in it"),
        ({"x": X, "labels": np.array([{}] * 20)}, "labels holds Python objects; save plain arrays"),
        ({"x": np.array(["a"] * 20)}, "row 0: input x: .* of <U1; give an array of numbers"),
        ({}, "has no arrays in it"),
    ],
)
def test_an_npz_that_does_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(npz(tmp_path, **arrays))


def test_a_name_nearly_right(tmp_path: Path) -> None:
    path = npz(tmp_path, image=X, other=X)
    with pytest.raises(UserError, match="no array for the input images; it has image, other: rename image"):
        opened(path, samples("images:1x3x32x32"))


def test_arrays_that_are_left_out_are_named(tmp_path: Path) -> None:
    (warning, _) = opened(npz(tmp_path, x=X, lables=np.arange(20))).warnings
    assert "lables left out: no input, and targets are named labels" in warning


def test_damaged_files(tmp_path: Path) -> None:
    whole = npz(tmp_path, x=X).read_bytes()
    flipped = bytearray(whole)
    flipped[5000] ^= 255
    for content in (b"", b"text", whole[:2000], bytes(flipped)):
        (tmp_path / "data.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"data\.npz can't be read: .*; copy it anew or save it again"):
            opened(tmp_path / "data.npz")
    np.save(tmp_path / "data.npy", X)
    (tmp_path / "data.npy").write_bytes((tmp_path / "data.npy").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"data\.npy can't be read"):
        opened(tmp_path / "data.npy")
