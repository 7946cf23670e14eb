"""Folders of pictures: what a model is fed, its classes, its boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import coco, feeds, opened, picture, samples, targets
from PIL import Image

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import Pixels
from enginesmith.converters.data.picture_inputs import IMAGENET_MEAN, IMAGENET_STD

CLASSIFIER = samples(task="classification", pixels="unit")
DETECTOR = samples(task="detection", pixels="unit")


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ("unit", [1, 0, 0.2]),
        ("unknown", [1, 0, 0.2]),
        ("bytes", [255, 0, 51]),
        ("imagenet", [(value - m) / s for value, m, s in zip((1, 0, 0.2), IMAGENET_MEAN, IMAGENET_STD, strict=True)]),
    ],
)
def test_pictures_are_scaled_as_the_model_takes_them(tmp_path: Path, pixels: Pixels, expected: list[float]) -> None:
    picture(tmp_path / "a.png", (255, 0, 51))
    (feed,) = feeds(opened(tmp_path, samples(pixels=pixels)))
    assert feed["x"].shape == (1, 3, 32, 32)
    assert feed["x"].dtype == np.float32
    np.testing.assert_allclose(feed["x"][0, :, 5, 5], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "modes"),
    [
        ("a.png", ["L", "RGB", "P", "RGBA", "1", "LA"]),
        ("a.tiff", ["L", "RGB", "P", "RGBA", "1", "CMYK"]),
        ("a.JPG", ["L", "RGB", "CMYK"]),
        ("a.jpeg", ["RGB"]),
        ("a.bmp", ["L", "RGB", "P", "1"]),
        ("a.gif", ["L", "P"]),
        ("a.webp", ["RGB", "RGBA"]),
    ],
)
def test_all_kinds_of_pictures(tmp_path: Path, name: str, modes: list[str]) -> None:
    for mode in modes:
        Image.new("L", (40, 32), 255).convert(mode).save(tmp_path / name)
        (feed,) = feeds(opened(tmp_path, samples(pixels="unit")))
        np.testing.assert_allclose(feed["x"], 1, atol=0.02)


def test_a_grey_input(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (255, 0, 0))
    (feed,) = feeds(opened(tmp_path, samples("x:1x1x32x32", pixels="unit")))
    np.testing.assert_allclose(feed["x"], np.full((1, 1, 32, 32), 1 / 3), atol=1e-6)


def test_pictures_keep_their_aspect_and_their_centre(tmp_path: Path) -> None:
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    (feed,) = feeds(opened(tmp_path, CLASSIFIER))
    assert feed["x"].min() == 1


def test_a_limit_draws_from_all_classes(tmp_path: Path) -> None:
    for index in range(10):
        for number in range(20):
            picture(tmp_path / f"class{index}" / f"{number}.png", 20 * index)
    dataset = opened(tmp_path, CLASSIFIER, limit=40)
    assert len(dataset) == dataset.rows == 40
    assert dataset.labelled
    found = targets(dataset)
    assert len(set(found)) >= 8
    for example in dataset:
        np.testing.assert_allclose(example.feed["x"], 20 * example.target / 255, atol=1e-6)
    assert targets(opened(tmp_path, CLASSIFIER, limit=40)) == found
    assert targets(opened(tmp_path, CLASSIFIER, limit=40, seed=1)) != found


def test_calibration_takes_pictures_from_everywhere(tmp_path: Path) -> None:
    for number in range(8):
        picture(tmp_path / f"{number % 3}" / "deep" / f"{number}.png")
    dataset = opened(tmp_path, CLASSIFIER, role="calibration")
    assert (len(dataset), dataset.labelled, dataset.weak) == (8, False, False)
    (warning,) = dataset.warnings
    assert "8 examples are few" in warning


def test_calibration_and_evaluation_on_the_same_folder(tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / f"{number % 2}" / f"{number}.png", 10 * number)
    calibration = feeds(opened(tmp_path, CLASSIFIER, role="calibration", limit=10))
    evaluation = feeds(opened(tmp_path, CLASSIFIER, limit=10))
    assert len({feed["x"].tobytes() for feed in calibration + evaluation}) == 20


def test_classes_txt_says_the_order(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / name / "1.png")
    assert targets(opened(tmp_path, CLASSIFIER)) == [0, 1]
    (tmp_path / "classes.txt").write_text("tree\ndog\nhouse\ncat\n")
    assert targets(opened(tmp_path, CLASSIFIER)) == [3, 1]
    (tmp_path / "classes.txt").write_text("tree\ndog\n")
    with pytest.raises(UserError, match=r"classes\.txt doesn't list the subfolder 'cat'"):
        opened(tmp_path, CLASSIFIER)


def test_numbers_as_subfolders(tmp_path: Path) -> None:
    for index in range(10):
        picture(tmp_path / "ten" / str(index) / "1.png")
        picture(tmp_path / "eleven" / str(index) / "1.png")
    picture(tmp_path / "eleven" / "10" / "1.png")
    assert targets(opened(tmp_path / "ten", CLASSIFIER)) == list(range(10))
    with pytest.raises(UserError, match=r"0, 1, 10, 2, whose order as classes can't be told .*; add classes\.txt"):
        opened(tmp_path / "eleven", CLASSIFIER)


def test_one_folder_has_no_labels(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "1.png")
    assert not opened(tmp_path, CLASSIFIER).labelled
    assert not opened(tmp_path / "images", CLASSIFIER).labelled
    assert not opened(tmp_path / "images", DETECTOR).labelled


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "._1.png").write_bytes(b"resource fork")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "readme.txt").write_text("x")
    picture(tmp_path / "__MACOSX" / "1.png")
    assert len(opened(tmp_path)) == 1


def test_boxes_are_scaled_with_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", size=(64, 128))
    picture(tmp_path / "images" / "b.png", size=(32, 32))
    picture(tmp_path / "not annotated.png")
    coco(
        tmp_path,
        {"a.png": [(7, (8, 16, 32, 64)), (3, (0, 0, 0, 9))], "b.png": [], "elsewhere.png": [(1, (0, 0, 1, 1))]},
    )
    first, second = targets(opened(tmp_path, DETECTOR))
    assert first["boxes"].tolist() == [[4, 4, 20, 20]], "one without an area is none"
    assert first["labels"].tolist() == [7]
    assert not first["crowd"].any()
    assert second["boxes"].shape == (0, 4)


def test_annotations_say_what_an_unknown_model_does(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", size=(64, 128))
    coco(tmp_path, {"a.png": [(7, (8, 16, 32, 64))]})
    (target,) = targets(opened(tmp_path, samples(task="tensor")))
    assert target["boxes"].tolist() == [[4, 4, 20, 20]]
    assert not opened(tmp_path, CLASSIFIER).labelled


def test_crowds(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", size=(32, 32))
    coco(tmp_path, {"a.png": [(7, (8, 8, 8, 8))]}, iscrowd=1)
    (target,) = targets(opened(tmp_path, DETECTOR))
    assert target["crowd"].tolist() == [True]


def test_boxes_are_no_matter_to_calibration(tmp_path: Path) -> None:
    for number in range(8):
        picture(tmp_path / f"{number}.png")
    (tmp_path / "annotations.json").write_text("{")
    assert len(opened(tmp_path, DETECTOR, role="calibration")) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"annotations\.json is no JSON: "),
        (
            '{"images": [{}], "annotations": []}',
            r"annotations\.json isn't in COCO's format: images\.0\.id.*: Field required, got {}",
        ),
        ('{"images": [7], "annotations": []}', r"images\.0: Input should be a valid dictionary .*, got 7"),
        ('{"images": [{"id": 1, "file_name": "b.png"}], "annotations": []}', "annotates none of the 1 pictures"),
        ('{"images": [{"id": 1, "file_name": "a.png"}], "annotations": []}', "no boxes for the 1 pictures"),
        (
            '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "bbox": [1], "category_id": 1}]}',
            r"annotations\.0\.bbox\.1: Field required, got \[1\]",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "bbox": [1]}]}',
            r"annotations\.0\.category_id: Field required",
        ),
    ],
)
def test_annotations_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(UserError, match=message):
        opened(tmp_path, DETECTOR)


def test_two_annotation_files(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    text = coco(tmp_path, {"a.png": [(1, (0, 0, 9, 9))]}).read_text()
    (tmp_path / "more.json").write_text(text)
    with pytest.raises(UserError, match=r"has 2 annotation files: annotations\.json, more\.json; keep one"):
        opened(tmp_path, DETECTOR)


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    picture(tmp_path / "good.png")
    whole = picture(tmp_path / "bad.png", size=(400, 400)).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], b"\x89PNG\r\n\x1a\n" + bytes(50)):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.png can't be read as a picture: .*; repair it or take it out"):
            opened(tmp_path)


def test_more_than_eight_bits(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png has I;16 pixels, more than 8 bits"):
        opened(tmp_path)


def test_folders_that_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty; put pictures or"):
        opened(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"has no pictures and no \.npy or \.npz files, only \.txt"):
        opened(tmp_path)
    picture(tmp_path / "a" / "a.png")
    picture(tmp_path / "b" / "a.png")
    picture(tmp_path / "a.png")
    with pytest.raises(UserError, match="has 1 pictures beside its subfolders a, b"):
        opened(tmp_path, CLASSIFIER)
    np.save(tmp_path / "a.npy", np.zeros((1, 3, 32, 32), np.float32))
    with pytest.raises(UserError, match="has 3 pictures and 1 files of arrays; keep one kind"):
        opened(tmp_path, CLASSIFIER)


@pytest.mark.parametrize("shape", ["x:1x64", "x:1x3x32x32 y:1x4", "x:1x3x32x32:int32", "x:1x16x16x3"])
def test_models_that_take_no_pictures(tmp_path: Path, shape: str) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"has pictures, and the model's inputs . .* take none; give a data\.npz"):
        opened(tmp_path, samples(shape))


@pytest.mark.parametrize("shape", ["x:1x3x32x40:uint8", "x:1x32x40x3:uint8", "x:1x32x40x3"])
def test_pictures_as_bytes_and_with_the_channels_last(tmp_path: Path, shape: str) -> None:
    picture(tmp_path / "a.png", (255, 0, 51))
    model = samples(shape)
    (feed,) = feeds(opened(tmp_path, model))
    assert (feed["x"].shape, feed["x"].dtype.name) == (model.specs[0].opt, model.specs[0].dtype)
    pixel = feed["x"][0, :, 5, 5] if feed["x"].shape[1] == 3 else feed["x"][0, 5, 5]
    np.testing.assert_allclose(pixel, [255, 0, 51] if "uint8" in shape else [1, 0, 0.2], atol=1e-6)
