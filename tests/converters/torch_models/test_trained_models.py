"""The zoo's trained models: as good as they should be on what they were not trained on, and made again by their script."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from enginesmith.converters.torch_models.detectors import make_static
from enginesmith.converters.torch_models.trained import digits, digits_data, frcnn_mini, make_weights, scenes
from enginesmith.converters.torch_models.trained.weights import loaded, path_of


@pytest.mark.parametrize(("name", "least", "most_bytes"), [("digits", 0.97, 100_000), ("frcnn-mini", 0.85, 6_000_000)])
def test_the_weights_that_come_along_are_trained(name: str, least: float, most_bytes: int) -> None:
    of = make_weights.SUBJECTS[name]
    assert path_of(name).stat().st_size < most_bytes
    assert float(make_weights.measure(loaded(of.build(), name), of).split()[1]) >= least


def test_the_script_makes_weights_that_are_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_weights", "digits", "--out", str(tmp_path)])
    make_weights.main()
    assert "top-1 0.9" in capsys.readouterr().out
    model = loaded(digits.build(), "digits", tmp_path / "digits.pt")
    assert not model.training
    assert all(value.dtype != torch.float16 for value in model.state_dict().values())


def test_digits_are_held_out_from_calibration() -> None:
    calibration = {image.tobytes() for image in digits_data.calibration()}
    held_out = {image.tobytes() for image, _ in digits_data.evaluation()}
    assert len(held_out) >= 490
    assert not calibration & held_out


def test_scenes_are_held_out_from_calibration() -> None:
    first = next(scenes.calibration())
    image, target = next(scenes.evaluation())
    assert image.shape == first.shape == (1, 3, scenes.SIZE, scenes.SIZE)
    assert not (image == first).all()
    assert len(target["boxes"]) == len(target["labels"]) > 0


def test_the_detector_becomes_static() -> None:
    """The static one finds what torchvision's own forward finds."""
    torch.manual_seed(0)
    model = frcnn_mini.build().eval()
    image = torch.from_numpy(next(scenes.evaluation())[0])
    with torch.no_grad():
        expected = model([image[0]])[0]
        boxes, scores, labels = make_static(model, scenes.SIZE, scenes.SIZE)(image)
    count = len(expected["scores"])
    torch.testing.assert_close(scores[0, :count], expected["scores"], atol=1e-5, rtol=0)
    torch.testing.assert_close(boxes[0, :count], expected["boxes"], atol=1e-2, rtol=0)
    assert labels[0, :count].tolist() == expected["labels"].tolist()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_detector_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make_weights", "frcnn-mini", "--out", str(tmp_path)])
    make_weights.main()
    of = make_weights.SUBJECTS["frcnn-mini"]
    model = loaded(of.build(), "frcnn-mini", tmp_path / "frcnn-mini.pt")
    assert float(make_weights.measure(model, of).split()[1]) >= 0.85
