"""The generated pictures: the same for a seed, others for another split, and boxes that fit what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from enginesmith.converters.data import pictures
from enginesmith.converters.torch_models.trained import scenes, shapes


@pytest.fixture(scope="module")
def drawn() -> list[scenes.Scene]:
    return list(scenes.scenes("train", 30, seed=5))


def test_a_seed_gives_the_same_scenes(drawn: list[scenes.Scene]) -> None:
    for first, again in zip(drawn, scenes.scenes("train", 3, seed=5), strict=False):
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.boxes, again.boxes)


def test_held_out_scenes_come_from_other_regions_and_other_numbers(drawn: list[scenes.Scene]) -> None:
    other = next(scenes.scenes("held-out", 1, seed=5))
    assert not np.array_equal(other.image, drawn[0].image)
    for name, train, held_out in zip(
        pictures.names(), scenes.regions("train"), scenes.regions("held-out"), strict=True
    ):
        with Image.open(pictures.path(name)) as picture:
            assert train.shape[1] + held_out.shape[1] == picture.width


def test_boxes_lie_within_the_picture_and_every_class_is_drawn(drawn: list[scenes.Scene]) -> None:
    for scene in drawn:
        assert scene.image.shape == (scenes.SIZE, scenes.SIZE, 3)
        assert len(scene.boxes) == len(scene.labels) >= 1
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, 2:] <= scenes.SIZE).all()
        assert (scene.boxes[:, 2:] - scene.boxes[:, :2] >= 5).all()
    labels = {int(label) for scene in drawn for label in scene.labels}
    assert labels == set(range(1, len(shapes.CLASSES) + 1))


@pytest.mark.parametrize("form", shapes.FORMS)
def test_a_form_fills_the_part_of_its_box_that_it_should(form: str) -> None:
    """Only a ring has nothing at its middle, and none reaches beyond its radius by more than the stretch."""
    mask = shapes.mask(form, 30.0, 128, (64.0, 64.0), np.random.default_rng(0))
    rows, columns = np.nonzero(mask > 0.5)
    assert np.hypot(rows - 64, columns - 64).max() <= 30 * 1.35
    assert (mask[62:66, 62:66].max() == 0) == (form == "ring")


def test_no_other_region_is_in_a_crop() -> None:
    """A crop is a part of the picture that it was given."""
    picture = np.zeros((50, 80, 3), np.uint8)
    picture[:, :40] = 200
    crop = shapes.crop(picture[:, :40], 32, np.random.default_rng(0), (0.5, 3.0))
    assert crop.shape == (32, 32, 3)
    assert crop.min() == crop.max() == 200
