"""torchvision's detectors with fixed shapes, so that they export to ONNX and build on every backend.

    fix_input_size(model, 320, 320)
    static = make_static(model, 320, 320)
    boxes, scores, labels = static(images)          # float32[N, 3, 320, 320] in 0..1

torchvision's own graphs select and suppress with shapes that depend on the data (NonZero, NonMaxSuppression), which
TensorRT-RTX and TVM refuse. Here every filter is a mask that sets a score to -1, and every selection takes a fixed number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.detectors.base import Detections
from enginesmith.converters.torch_models.detectors.faster_rcnn import StaticFasterRCNN
from enginesmith.converters.torch_models.detectors.retinanet import StaticRetinaNet
from enginesmith.converters.torch_models.detectors.ssd import StaticSSD

__all__ = ["Detections", "StockDetector", "fix_input_size", "is_detector", "make_static", "reference_forward"]


def is_detector(model: nn.Module) -> bool:
    """Whether `model` is one of torchvision's FasterRCNN, RetinaNet or SSD, or derives from one."""
    return isinstance(model, FasterRCNN | RetinaNet | SSD)


def fix_input_size(model: nn.Module, height: int, width: int) -> None:
    """Make the model's own resize do nothing to a picture of height x width pixels, so that this is its working size.

    Raises UserError if `model` is no detector, or a size is not positive.
    """
    if not is_detector(model):
        raise UserError(f"{type(model).__name__} is not a torchvision detector that has an input size to fix")
    if height < 1 or width < 1:
        raise UserError(f"the input size {height}x{width} is not positive")
    transform: Any = model.transform
    if isinstance(model, SSD):
        transform.fixed_size = (width, height)
    else:
        transform.min_size = (min(height, width),)
        transform.max_size = max(height, width)


def make_static(model: nn.Module, height: int, width: int, *, proposals: int | None = None) -> nn.Module:
    """The detector `model` as a module with fixed shapes, in evaluation mode. It shares the model's weights.

    Its forward takes float32[N, 3, height, width] in 0..1 and returns `Detections`: boxes float32[N, D, 4], scores
    float32[N, D] and labels int64[N, D], with D the model's detections_per_img, by falling score; where there are fewer
    detections, rows of score -1, label 0 and a box of zeros follow. They equal those of torchvision's own forward on a
    picture that needs no resize (see `fix_input_size`).

    `proposals` lowers the number of proposals that a Faster R-CNN's second stage looks at (torchvision: 1000).
    Raises UserError for a model that can't be made static.
    """
    if isinstance(model, MaskRCNN | KeypointRCNN):
        raise UserError(f"{type(model).__name__} is not supported: masks and keypoints have no static form here yet")
    if not is_detector(model):
        raise UserError(f"{type(model).__name__} is not a torchvision Faster R-CNN, RetinaNet or SSD")
    if proposals is not None and not isinstance(model, FasterRCNN):
        raise UserError(f"proposals is a setting of Faster R-CNN; {type(model).__name__} has no proposals")
    model.eval()
    if isinstance(model, FasterRCNN):
        return StaticFasterRCNN(model, height, width, proposals).eval()
    if isinstance(model, RetinaNet):
        return StaticRetinaNet(model, height, width).eval()
    return StaticSSD(model, height, width).eval()


def reference_forward(model: nn.Module, images: Tensor) -> Detections:
    """What torchvision's own forward detects on images float32[N, 3, H, W] in 0..1, padded like `make_static`'s output."""
    model.eval()
    with torch.no_grad():
        results = model(list(images))
    settings: Any = model.roi_heads if isinstance(model, FasterRCNN) else model
    count = int(settings.detections_per_img)
    boxes = images.new_zeros(len(results), count, 4)
    scores = images.new_full((len(results), count), -1.0)
    labels = torch.zeros(len(results), count, dtype=torch.int64, device=images.device)
    for i, result in enumerate(results):
        found = len(result["scores"])
        boxes[i, :found], scores[i, :found], labels[i, :found] = result["boxes"], result["scores"], result["labels"]
    return boxes, scores, labels


class StockDetector(nn.Module):
    """torchvision's own detector as a function of tensors, for `torch.onnx.export(dynamo=False)` and batches of one.

    forward(images float32[1, 3, H, W] in 0..1) -> boxes float32[n, 4], scores float32[n], labels int64[n], with an n that
    depends on the picture.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, images: Tensor) -> Detections:
        result = self.model([images[0]])[0]
        return result["boxes"], result["scores"], result["labels"]
