"""A small Faster R-CNN with a feature pyramid, of torchvision's own classes, for the scenes of `scenes.py`."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.resnet import BasicBlock, conv1x1
from torchvision.ops import MultiScaleRoIAlign

from enginesmith.converters.torch_models.trained import scenes, shapes, weights

WIDTH = 24
"""Channels of the first stage; each later stage has twice as many."""
PYRAMID = 64
HEAD = 256
ANCHORS = (22, 40, 70, 110)
"""Pixels, one size a level: strides 8, 16, 32, 64."""


def factory() -> nn.Module:
    """Pictures float32[1, 3, SIZE, SIZE] in 0..1 to boxes, scores, labels, as torchvision's detectors give them."""
    return weights.loaded(build(), "frcnn-mini")


def build() -> FasterRCNN:
    """Untrained."""
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
