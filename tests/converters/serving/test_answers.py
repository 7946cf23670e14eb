"""What is told of an engine's outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from enginesmith.converters.graphs.metadata import parse_names
from enginesmith.converters.serving import answers
from enginesmith.converters.serving.inputs import Given

PICTURE = Given("a", feed={}, across=2.0, down=0.5)  # type: ignore[arg-type]


def test_the_best_classes_come_first_with_their_names() -> None:
    logits = {"output": np.array([[0.0, 3.0, 1.0]], np.float32)}
    found = answers.ranking(logits, ["cat", "dog"], 2)
    assert [(each.index, each.name) for each in found] == [(1, "dog"), (2, "")]
    assert found[0].share == pytest.approx(np.exp(3) / (1 + np.exp(3) + np.exp(1)))


def test_shares_are_told_as_they_are() -> None:
    found = answers.ranking({"p": np.array([[0.25, 0.75]])}, [], 5)
    assert [each.share for each in found] == [0.75, 0.25]


@pytest.mark.parametrize("outputs", [{}, {"a": np.zeros((1, 3, 4), np.float32)}, {"a": np.zeros((1, 5), np.int64)}])
def test_what_are_no_scores_of_classes_is_not_ranked(outputs: dict[str, np.ndarray]) -> None:
    assert answers.ranking(outputs, [], 5) == []


def test_boxes_are_told_in_pixels_of_the_picture_best_first_without_padding() -> None:
    outputs = {
        "boxes": np.array([[[0, 0, 4, 4], [2, 2, 8, 8], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.6, 0.9, -1]], np.float32),
        "labels": np.array([[1, 0, 0]]),
    }
    found = answers.boxes(outputs, PICTURE, ["cat", "dog"], 0.5)
    assert [each.name for each in found] == ["cat", "dog"]
    assert found[0].sides == (1.0, 4.0, 4.0, 16.0)
    assert answers.ranking(outputs, [], 5) == [], "a detector's scores are no classes"


def test_a_small_tensor_is_told_whole_as_json_has_it() -> None:
    told = answers.tensor("x", np.array([1.0, np.nan, np.inf], np.float32))
    assert told.values == [1.0, "nan", "inf"]
    assert (told.low, told.high) == (1.0, 1.0)
    assert answers.tensor("x", np.zeros(5000, np.float32)).values is None
    assert answers.tensor("x", np.zeros((0,), np.float32)).low is None


def test_boxes_are_drawn_on_the_picture_in_its_own_size(tmp_path: Path) -> None:
    from PIL import Image

    source = tmp_path / "in.jpg"
    Image.new("RGB", (60, 40), "white").save(source)
    box = answers.Box(index=3, name="", score=0.9, sides=(10, 10, 50, 30))
    answers.draw(source, [box], tmp_path / "out.png")
    drawn = Image.open(tmp_path / "out.png")
    assert drawn.size == (60, 40)
    assert drawn.getpixel((30, 30)) != (255, 255, 255)
    assert drawn.getpixel((58, 38)) == (255, 255, 255)


@pytest.mark.parametrize("text", ["cat\ndog", '["cat", "dog"]', '{"1": "dog", "0": "cat"}', "{0: 'cat', 1: 'dog'}"])
def test_names_are_read_in_every_form_that_tools_write(text: str) -> None:
    assert parse_names(text) == ["cat", "dog"]


@pytest.mark.parametrize("text", ["{0: 'cat', 2: 'dog'}", "[1", "{'a': 1}", "{__import__('os')}"])
def test_what_are_no_names_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is ast's
        parse_names(text)
