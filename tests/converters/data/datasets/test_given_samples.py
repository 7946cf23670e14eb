"""Samples in files of the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.samples import Feed, SampleSet
from enginesmith.converters.data.datasets.given import read_samples
from enginesmith.converters.data.options import OwnOptions, sample_count
from enginesmith.pipeline.job.shapes import parse_shapes


def read(path: Path, shape: str) -> list[tuple[str, Feed]]:
    return read_samples(str(path), SampleSet(task="tensor", specs=parse_shapes(shape), samples=[]))


def test_one_sample_as_it_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3), np.float32), n=np.array(7))
    ((name, feed),) = read(tmp_path / "a.npz", "x:2x3 n:scalar:int64")
    assert (name, [*feed], feed["x"].shape, int(feed["n"])) == ("a.npz", ["x", "n"], (2, 3), 7)


def test_a_leading_axis_of_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(24, dtype=np.float32).reshape(4, 2, 3), n=np.arange(4))
    found = read(tmp_path / "a.npz", "x:2x3 n:scalar:int64")
    assert [name for name, _ in found] == [f"a.npz, row {row}" for row in range(4)]
    assert [int(feed["n"]) for _, feed in found] == [0, 1, 2, 3]
    np.testing.assert_array_equal(found[3][1]["x"], np.arange(18, 24).reshape(2, 3))


def test_a_folder_has_one_in_each_file(tmp_path: Path) -> None:
    for name, length in (("b", 3), ("a", 5)):
        np.savez(tmp_path / f"{name}.npz", ids=np.zeros((1, length), np.int64))
    found = read(tmp_path, "ids:1x2..4..8:int64")
    assert [(name, feed["ids"].shape) for name, feed in found] == [("a.npz", (1, 5)), ("b.npz", (1, 3))]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"idx": np.zeros((1, 4), np.int64)}, r"no array for the input ids, mask; it has idx: rename idx"),
        (
            {"ids": np.zeros((1, 9), np.int64), "mask": np.zeros((1, 9))},
            r"input ids got int64 \[9\], wanted int64 \[N,4\]",
        ),
        (
            {"ids": np.full((1, 4), 0.5), "mask": np.zeros((1, 4))},
            r"input ids is int64 and can't hold the float64 value 0.5",
        ),
    ],
)
def test_one_line_for_what_does_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / "a.npz", "ids:1x4:int64 mask:1x4")
    assert "\n" not in str(caught.value)


def test_the_option_is_a_number_or_a_place(tmp_path: Path) -> None:
    np.save(tmp_path / "3.npy", np.zeros(2))
    assert Recipe(model="m", samples=5).samples == Recipe(model="m", samples="5").samples == 5
    recipe = Recipe(model="m", samples=tmp_path / "3.npy")
    assert (recipe.samples, sample_count(recipe)) == (str(tmp_path / "3.npy"), 3)
    assert [*OwnOptions.asked(recipe).sources] == [str(tmp_path / "3.npy")]
    with pytest.raises(UserError, match=r"SAMPLES=none\.npz: there is no such file or folder"):
        OwnOptions.asked(Recipe(model="m", samples="none.npz"))
    for wrong in (0, "65", "-1", ""):
        with pytest.raises(ValidationError, match=r"give 1 to 64|give a number"):
            Recipe(model="m", samples=wrong)
