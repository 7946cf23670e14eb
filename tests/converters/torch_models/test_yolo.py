"""Ultralytics' models: a name, a description or a checkpoint; predictions alone come out, at any size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.loaded import LoadedModel
from enginesmith.converters.torch_models.yolo import load_yolo


def load(ref: str = "", path: Path | None = None, weights: str = "random", trust: bool = False) -> LoadedModel:
    return load_yolo(ref, path, weights, trust, seed=0)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("yolo11n", [(1, 84, 1344)]),
        ("yolo11n-seg.yaml", [(1, 116, 1344), (1, 32, 64, 64)]),
        ("yolo11n-pose", [(1, 135, 1344)]),
        ("yolo11n-obb", [(1, 85, 1344)]),
        ("yolo11n-cls", [(1, 1000)]),
        ("yolov8n", [(1, 84, 1344)]),
        ("rtdetr-l", [(1, 300, 6)]),
    ],
)
def test_predictions(name: str, shapes: list[tuple[int, ...]]) -> None:
    loaded = load(name)
    side = 224 if name.endswith("cls") else 640
    assert [tensor.shape for tensor in loaded.example.args] == [(1, 3, side, side)]
    with torch.no_grad():
        assert [tuple(tensor.shape) for tensor in loaded.module(torch.rand(1, 3, 256, 256))] == shapes


def test_a_checkpoint_has_its_weights(tmp_path: Path) -> None:
    model = load("yolo11n").module.model
    model.args = {"task": "detect"}
    torch.save({"model": model.half(), "train_args": {}}, tmp_path / "best.pt")
    loaded = load("", tmp_path / "best.pt", "auto")
    assert loaded.weights.origin == "model"
    name = "model.0.conv.weight"
    assert torch.equal(loaded.module.model.state_dict()[name], model.state_dict()[name].float())


def test_a_checkpoint_runs_no_code_without_trust(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="--trust runs their code"):
        load("", tmp_path / "evil.pt", "auto")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("ref", "weights", "message"),
    [
        ("yolo111n", "auto", "ultralytics has no model 'yolo111n'; nearest: "),
        ("yolo11n", "pretrained", "give ultralytics:yolo11n.pt"),
    ],
)
def test_one_line_for_what_is_not_there(ref: str, weights: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(ref, weights=weights)


def test_weights_that_are_not_given_are_said_to_be_random() -> None:
    loaded = load("yolo11n", weights="auto")
    assert loaded.weights.origin == "random"
    assert "ultralytics:yolo11n.pt" in loaded.warnings[0]
