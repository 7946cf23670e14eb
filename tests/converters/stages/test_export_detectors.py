"""The export of detectors, and the flags that are theirs alone."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from export_models import imports, models
from stages import compare, export

from enginesmith.converters.core.errors import UserError

__all__ = ["imports", "models"]  # the fixtures


def test_flags_of_detectors_are_refused_for_others(tmp_path: Path, models: Path) -> None:
    for flag in ({"stock": True}, {"proposals": 100}):
        with pytest.raises(UserError, match="for torchvision's detectors, and this is none"):
            export(tmp_path / f"{[*flag]}", "cnn", path=models, shape="1x3x16x16", **flag)


DETECTOR = dedent(
    """
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large
    def make(): return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)
    """
)


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    path = tmp_path / "detector_of_test.py"
    path.write_text(DETECTOR)
    return path


@pytest.mark.parametrize(
    ("shape", "flags", "message"),
    [
        ("1x1x320x320", {}, "one float32 input of shape Nx3xHxW"),
        ("3x320x320", {}, "one float32 input of shape Nx3xHxW"),
        ("1x3x320x320:uint8", {}, "one float32 input of shape Nx3xHxW"),
        ("a:1x3x320x320 b:1x3x320x320", {}, "inputs are images, targets, not a, b"),
        ("1..2..4x3x320x320", {}, "exported with one fixed shape"),
        ("2x3x320x320", {"stock": True}, "give a batch of 1"),
        ("1x3x320x320", {"proposals": 5}, "proposals is a setting of Faster R-CNN"),
    ],
)
def test_detectors_refuse(tmp_path: Path, detector: Path, shape: str, flags: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(tmp_path / "out", "make", path=detector, shape=shape, **flags)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("stock", [False, True])
def test_detector(tmp_path: Path, detector: Path, stock: bool) -> None:
    facts = export(tmp_path / "out", "make", path=detector, shape="1x3x320x320", stock=stock, weights="random")
    assert facts.task == "detection"
    assert [info.name for info in facts.outputs] == ["boxes", "scores", "labels"]
    assert ("NonMaxSuppression" in facts.ops) == stock
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass", comparison.reason
    assert comparison.samples[0].detections is not None
    assert comparison.samples[0].detections.matched > 10
