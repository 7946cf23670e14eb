"""A small Faster R-CNN with a feature pyramid, of torchvision's own classes, for the scenes of `scenes.py`.

enginesmith build benchmarks/trained/detector.py:factory --weights detector.pt
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import scenes
import shapes
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.resnet import BasicBlock, conv1x1
from torchvision.ops import MultiScaleRoIAlign

WIDTH = 24
"""Channels of the first stage; each later stage has twice as many."""
PYRAMID = 64
HEAD = 256
ANCHORS = (22, 40, 70, 110)
"""Pixels, one size a level: strides 8, 16, 32, 64."""

CALIBRATION_SCENES = 512
EVALUATION_SCENES = 300
TRAINING_SEED, EVALUATION_SEED = 0, 1


def factory() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return build(), (torch.zeros(1, 3, scenes.SIZE, scenes.SIZE),)


def calibration() -> Iterator[Tensor]:
    """Training scenes, float32[1, 3, SIZE, SIZE] in 0..1."""
    for scene in _drawn("train", CALIBRATION_SCENES, TRAINING_SEED):
        yield as_input(scene.image)


def evaluation() -> Iterator[tuple[Tensor, dict[str, NDArray[Any]]]]:
    """Held-out scenes as the input, and their boxes float32[N, 4] (x1, y1, x2, y2 in pixels) and labels int64[N]."""
    for scene in _drawn("held-out", EVALUATION_SCENES, EVALUATION_SEED):
        yield as_input(scene.image), {"boxes": scene.boxes, "labels": scene.labels}


@cache
def _drawn(split: scenes.Split, count: int, seed: int) -> tuple[scenes.Scene, ...]:
    """Kept, because calibration and a search read them again and again: 110 KB each."""
    return tuple(scenes.scenes(split, count, seed))


def as_input(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def build() -> FasterRCNN:
    backbone = BackboneWithFPN(
        _resnet(),
        {"stage2": "0", "stage3": "1", "stage4": "2"},
        [WIDTH * 2, WIDTH * 4, WIDTH * 8],
        PYRAMID,
    )
    return FasterRCNN(
        backbone,
        min_size=scenes.SIZE,
        max_size=scenes.SIZE,
        rpn_anchor_generator=AnchorGenerator(tuple((size,) for size in ANCHORS), ((0.6, 1.0, 1.7),) * len(ANCHORS)),
        rpn_pre_nms_top_n_train=300,
        rpn_pre_nms_top_n_test=150,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=100,
        rpn_batch_size_per_image=128,
        box_batch_size_per_image=48,
        box_positive_fraction=0.4,
        # boxes from 48 pixels on are pooled on the second level, of stride 2 ** 4
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 7, 2, canonical_scale=48, canonical_level=4),
        box_head=TwoMLPHead(PYRAMID * 7 * 7, HEAD),
        box_predictor=FastRCNNPredictor(HEAD, len(shapes.CLASSES) + 1),
        box_detections_per_img=20,
    )


def _resnet() -> nn.Sequential:
    """The layout of ResNet-18, narrower, with one block less in the first stage."""
    stem = nn.Sequential(
        nn.Conv2d(3, WIDTH, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    stages = OrderedDict[str, nn.Module](stem=stem, stage1=BasicBlock(WIDTH, WIDTH))
    for level in (2, 3, 4):
        wide, narrow = WIDTH * 2 ** (level - 1), WIDTH * 2 ** (level - 2)
        shortcut = nn.Sequential(conv1x1(narrow, wide, 2), nn.BatchNorm2d(wide))
        stages[f"stage{level}"] = nn.Sequential(BasicBlock(narrow, wide, 2, shortcut), BasicBlock(wide, wide))
    return nn.Sequential(stages)
