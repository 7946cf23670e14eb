"""Without data of the user's."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from data_files import feeds, opened, samples

from enginesmith.converters.data.datasets import open_dataset
from enginesmith.converters.data.datasets.shipped import PICTURES


def test_shipped_pictures() -> None:
    model = samples("x:1x3x64x48", pixels="unit")
    calibration, evaluation = opened("", model, role="calibration"), opened("", model)
    assert len(calibration) == len(evaluation) == 64
    assert calibration.weak
    assert not calibration.labelled
    assert calibration.warnings == []
    both = feeds(calibration) + feeds(evaluation)
    assert len({feed["x"].tobytes() for feed in both}) == 128, "no two are the same"
    assert all(feed["x"].shape == (1, 3, 64, 48) and feed["x"].dtype == np.float32 for feed in both)
    assert all(0 <= feed["x"].min() < feed["x"].max() <= 1 for feed in both)
    assert np.median([feed["x"].std() for feed in both]) > 0.1, "they show something"


def test_no_picture_is_for_both() -> None:
    assert not {*PICTURES["calibration"]} & {*PICTURES["evaluation"]}


def test_the_seed_decides() -> None:
    first = feeds(opened("", limit=8))
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(first, feeds(opened("", limit=8)), strict=True))
    assert not any(
        np.array_equal(a["x"], b["x"]) for a, b in zip(first, feeds(opened("", limit=8, seed=1)), strict=True)
    )


def test_a_batch_has_different_pictures() -> None:
    dataset = opened("", samples("x:3x1x32x32"), limit=10)
    assert (len(dataset), dataset.rows) == (4, 12)
    assert len({row.tobytes() for feed in feeds(dataset) for row in feed["x"]}) == 12


@pytest.mark.parametrize("pixels", ["unit", "imagenet", "bytes", "unknown"])
def test_pixels(pixels) -> None:
    values = np.concatenate([feed["x"].ravel() for feed in feeds(opened("", samples(pixels=pixels), limit=16))])
    low, high = {"imagenet": (-2.2, 2.7), "bytes": (0, 255)}.get(pixels, (0, 1))
    assert low <= values.min() < values.max() <= high
    assert values.max() > 0.8 * high


def test_other_inputs_get_random_data() -> None:
    model = samples("x:1x3x32x32 ids:2x5:int64 scale:scalar mask:1x4:bool")
    found = feeds(opened("", model, limit=12))
    assert len(found) == 12
    assert len({feed["ids"].tobytes() for feed in found}) > 10
    assert {(name, array.shape, array.dtype.name) for name, array in found[0].items()} == {
        ("x", (1, 3, 32, 32), "float32"),
        ("ids", (2, 5), "int64"),
        ("scale", (), "float32"),
        ("mask", (1, 4), "bool"),
    }
    assert opened("", samples("ids:1x5:int64")).name == "random data"


@pytest.mark.parametrize("shape", ["x:2x3x32x48:uint8", "x:2x32x48x3:uint8", "x:2x32x48x1:uint8", "x:2x32x48x3"])
def test_pictures_for_bytes_and_for_channels_that_come_last(shape: str) -> None:
    model = samples(shape)
    dataset = opened("", model, limit=8)
    assert (dataset.name, dataset.made_up, dataset.warnings) == ("shipped pictures, augmented", False, [])
    spec = model.specs[0]
    for feed in feeds(dataset):
        assert (feed["x"].shape, feed["x"].dtype.name) == (spec.opt, spec.dtype)
        assert feed["x"].max() > (100 if spec.dtype == "uint8" else 0.4)


def test_what_is_made_up_is_called_so_and_warned_of() -> None:
    dataset = opened("", samples("ids:1x5:int64"), role="calibration")
    assert dataset.made_up
    assert dataset.warnings == [
        "random data, which is made up: ranges measured on it say little of real data; give CALIB"
    ]
    assert not opened("", samples("x:1x3x32x32 ids:1x5:int64")).made_up


def test_other_inputs_are_made_like_the_users() -> None:
    pattern = OrderedDict(ids=np.array([[101, 7, 7, 9, 102]]), x=np.full((1, 3, 32, 32), -2, np.float32))
    pattern["x"][0, 0] = 2
    dataset = open_dataset(
        "", samples("ids:1x5:int64 x:1x3x32x32"), role="evaluation", limit=8, seed=0, pattern=pattern
    )
    found = feeds(dataset)
    assert all({*feed["ids"].ravel()} <= {101, 7, 9, 102} for feed in found)
    assert len({feed["ids"].tobytes() for feed in found}) > 1
    assert all(-2 <= feed["x"].min() < 0 < feed["x"].max() <= 2 for feed in found), (
        "pictures in the range of the example"
    )
    only = open_dataset("", samples("ids:1x5:int64"), role="evaluation", limit=8, seed=0, pattern=pattern)
    assert (only.name, only.made_up) == ("data derived from the example", True)
