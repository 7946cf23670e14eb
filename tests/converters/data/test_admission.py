"""Samples that the model takes, and those that it doesn't."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import Feed, SampleSet
from enginesmith.converters.data.admission import Admitted, Run, admit
from enginesmith.converters.data.maker import Way
from enginesmith.converters.data.samples import Own, make_samples
from enginesmith.pipeline.job.shapes import parse_shapes


def admitted(shape: str, run: Run, count: int = 3, **own: object) -> Admitted:
    given = Own(**own)  # type: ignore[arg-type]
    specs = parse_shapes(shape)

    def make(way: Way) -> tuple[SampleSet, list[Feed]]:
        return make_samples(specs, "tensor", count, 0, own=given, way=way)

    return admit(make, given.ways(specs), run)


def feed(**arrays: np.ndarray) -> Feed:
    return OrderedDict(arrays)


def names(found: Admitted) -> list[str]:
    return [found.samples.samples[index].name for index in found.samples.ordinary()]


def table(rows: int) -> Run:
    return lambda feed: {"y": np.arange(rows, dtype=np.float32)[feed["ids"]]}


def test_the_example_comes_first_and_others_are_like_it() -> None:
    found = admitted("ids:1x4:int64", table(8), example=feed(ids=np.array([[7, 0, 3, 5]])))
    assert names(found) == ["example", "derived 1", "derived 2", "example again"]
    assert [sample.own for sample in found.samples.samples][:4] == [True, False, False, True]
    assert not found.notes
    assert all({*feed["ids"].ravel()} <= {7, 0, 3, 5} for feed in found.feeds[:4])
    assert len(found.results) == 4
    assert len(found.feeds) == len(found.samples.samples)


def test_without_an_example_ranges_are_tried() -> None:
    found = admitted("ids:1x40:int64", table(2))
    assert names(found)[0] == "random 0"
    assert not found.notes
    assert max(feed["ids"].max() for feed in found.feeds[:3]) == 1


def test_what_was_made_up_and_is_refused_is_left_out() -> None:
    def run(feed: Feed) -> dict[str, np.ndarray]:
        if feed["x"].shape[0] == 1:
            raise ValueError("one row is not enough\nreally")
        return {"y": feed["x"] * 2}

    found = admitted("x:1..3..6x4", run, example=feed(x=np.random.default_rng(0).random((3, 4), np.float32)))
    assert names(found) == ["example", "derived 1", "derived 2", "max size", "unseen size", "example again"]
    assert found.dropped == ["min size (refused: ValueError: one row is not enough)"]
    assert found.notes == [
        "left out of the samples, since they were made up and are no input of the model: "
        "min size (refused: ValueError: one row is not enough)"
    ]


def test_another_way_is_tried_at_a_size() -> None:
    """The rows must begin with the end of the text."""

    def run(feed: Feed) -> dict[str, np.ndarray]:
        assert (feed["ids"][:, 0] == 9).all()
        return {"y": feed["ids"] * 2.0}

    found = admitted("ids:1x2..5..8:int64", run, example=feed(ids=np.array([[9, 1, 4, 2, 7]])))
    assert {"min size", "max size"} <= {*names(found)}
    assert all(text.startswith(("derived", "unseen")) for text in found.dropped)
    sizes = {feed["ids"].shape[1] for feed in found.feeds[: len(found.results)]}
    assert {2, 5, 8} <= sizes


def test_a_refused_example_is_an_error_with_the_models_own_message() -> None:
    with pytest.raises(UserError, match=r"refuses the input ids:1x2 of yours \(example\): IndexError: index 9 is out"):
        admitted("ids:1x2:int64", table(4), example=feed(ids=np.array([[9, 1]])))
    more = [("a.npz", feed(ids=np.array([[0, 1]]))), ("b.npz", feed(ids=np.array([[9, 1]])))]
    with pytest.raises(UserError, match=r"of yours \(b\.npz\): IndexError"):
        admitted("ids:1x2:int64", table(4), more=more)


def test_made_up_inputs_that_are_all_refused_are_an_error_that_asks_for_some() -> None:
    with pytest.raises(UserError, match=r"refuses the input x:2: ZeroDivisionError: .*; give the SHAPE .* or inputs: "):
        admitted("x:2", lambda feed: {"y": 1 / 0})


def test_made_up_ones_with_nan_results_are_left_out() -> None:
    x = np.array([[0.1, 0.5, 0.2, 0.9, 0.3]], np.float32)

    def run(feed: Feed) -> dict[str, np.ndarray]:
        return {"y": feed["x"] if (feed["x"] == x).all() else feed["x"] * np.nan}

    nan = admitted("x:1x5", run, example=feed(x=x))
    assert names(nan) == ["example", "example again"]
    assert nan.dropped == [f"derived {number} (its results are NaN or infinite)" for number in (1, 2)]
    everywhere = admitted("x:1x5", lambda feed: {"y": feed["x"] * np.nan})
    assert (len(everywhere.results), everywhere.dropped) == (4, []), "nothing else would be left"


def test_ones_own_samples_come_behind_the_example() -> None:
    example, more = np.array([[1, 2, 3]]), [("a.npz", feed(ids=np.array([[4, 4, 1]])))]
    found = admitted("ids:1x3:int64", table(8), count=2, example=feed(ids=example), more=more)
    assert names(found) == ["example", "a.npz", "example again"]
    alone = admitted("ids:1x3:int64", table(8), count=2, more=more)
    assert names(alone) == ["a.npz", "derived 1", "a.npz again"]


def test_an_example_of_another_size_is_fitted() -> None:
    x = np.random.default_rng(0).random((2, 6), np.float32)
    found = admitted("x:2x9", lambda feed: {"y": feed["x"]}, example=feed(x=x))
    assert names(found)[0] == "example, fitted"
    np.testing.assert_array_equal(found.feeds[0]["x"], np.concatenate([x, x[:, :3]], axis=1))
    within = admitted("x:1..4..8x6", lambda feed: {"y": feed["x"]}, example=feed(x=x))
    assert names(within)[:4] == ["example, fitted", "derived 2", "example", "min size"]
    assert [feed["x"].shape[0] for feed in within.feeds[:3]] == [4, 4, 2]


def test_zeros_of_a_users_example_are_the_first_sample_and_no_pattern() -> None:
    found = admitted("x:1x8", lambda feed: {"y": feed["x"]}, example=feed(x=np.zeros((1, 8), np.float32)))
    assert names(found)[0] == "example"
    assert not found.feeds[0]["x"].any()
    assert found.feeds[1]["x"].std() > 0


def test_pictures_beside_an_example_have_its_range() -> None:
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 32, 32)).astype(np.float32)
    found = admitted("x:1x3x32x32", lambda feed: {"y": feed["x"]}, example=feed(x=x))
    assert names(found) == ["example", "astronaut", "derived 2", "example again"]
    picture = found.feeds[1]["x"]
    assert x.min() <= picture.min() < -1 < 1 < picture.max() <= x.max()


def test_a_mask_of_the_size_of_a_picture_is_none() -> None:
    x = (np.random.default_rng(0).random((1, 1, 32, 32)) > 0.7).astype(np.float32)
    found = admitted("mask:1x1x32x32", lambda feed: {"y": feed["mask"]}, example=feed(mask=x))
    assert all({*np.unique(feed["mask"])} <= {0, 1} for feed in found.feeds[:3])
    assert "astronaut" not in names(found)


def test_probes_leave_an_input_alone_of_which_other_numbers_mean_nothing() -> None:
    rng = np.random.default_rng(0)
    corner = rng.random((4, 2), np.float32)
    boxes = np.concatenate([corner, corner + 1], axis=1)
    example = feed(x=rng.random((1, 6), np.float32), boxes=boxes)
    found = admitted("x:1x6 boxes:4x4", lambda feed: {"y": feed["x"]}, example=example)
    assert found.samples.bound == ("boxes",)
    assert all((feed["boxes"][:, :2] < feed["boxes"][:, 2:]).all() for feed in found.feeds)
    assert any((feed["x"] < 0).any() for feed in found.feeds)
    alone = admitted("boxes:4x4", lambda feed: {"y": feed["boxes"]}, example=feed(boxes=boxes))
    assert alone.samples.bound == (), "there would be no probe at all"


@pytest.mark.parametrize("x", [np.arange(6)[None], np.arange(6, dtype=np.float32)[None], np.tri(4)[None]])
def test_an_example_that_no_other_is_like_is_not_the_only_sample(x: np.ndarray) -> None:
    shape = f"x:{'x'.join(map(str, x.shape))}:{x.dtype}"
    found = admitted(shape, lambda feed: {"y": feed["x"] * 2.0}, example=feed(x=x))
    assert (found.feeds[1]["x"] != x).any()
    assert np.isin(found.feeds[1]["x"], x).all() or x.dtype.kind == "f"
