"""Models that are trained here: good enough to show what a lower precision costs, and trained once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import trained

from enginesmith.converters.torch_models.detectors import make_static
from enginesmith.pipeline.job.store import Store

sys.path.insert(0, str(trained.TRAINED))
import detector
import digits
import scenes
import train


def test_digits_are_trained_once_and_read_97_percent(tmp_path: Path) -> None:
    weights = trained.digits_weights(tmp_path)
    model = digits.build().eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    images, labels = digits.split("held-out")
    with torch.no_grad():
        answers = model(torch.from_numpy(images[:, None])).argmax(dim=1).numpy()
    assert (answers == labels).mean() >= 0.97

    said: list[str] = []
    _, note = train.weights("digits", Store(), said.append)
    assert said == []
    assert note.startswith("top-1 0.9")


def test_digits_are_held_out_from_calibration() -> None:
    calibration = {image.numpy().tobytes() for image in digits.calibration()}
    held_out = {image.numpy().tobytes() for image, _ in digits.evaluation()}
    assert len(held_out) >= 490
    assert not calibration & held_out


def test_the_detector_becomes_static() -> None:
    """The static one finds what torchvision's own forward finds."""
    torch.manual_seed(0)
    model = detector.build().eval()
    image = detector.as_input(next(scenes.scenes("held-out", 1, seed=1)).image)
    with torch.no_grad():
        expected = model([image[0]])[0]
        boxes, scores, labels = make_static(model, scenes.SIZE, scenes.SIZE)(image)
    count = len(expected["scores"])
    torch.testing.assert_close(scores[0, :count], expected["scores"], atol=1e-5, rtol=0)
    torch.testing.assert_close(boxes[0, :count], expected["boxes"], atol=1e-2, rtol=0)
    assert labels[0, :count].tolist() == expected["labels"].tolist()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_detector_is_trained_to_a_map_of_85_percent() -> None:
    _, note = train.weights("detector", Store())
    assert float(note.split()[1]) >= 0.85
