"""SSD and SSDlite with fixed shapes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection.ssd import SSD

from enginesmith.converters.torch_models.detectors.base import Detections, Preparation, features_of, image_limits, probe
from enginesmith.converters.torch_models.detectors.boxes import (
    best,
    check_topk,
    clip,
    decode,
    extents,
    pad_rows,
    take_rows,
    to_centers,
)
from enginesmith.converters.torch_models.detectors.nms import GroupedSuppression


class StaticSSD(nn.Module):
    """forward(images float32[N, 3, H, W] in 0..1) -> Detections, for one fixed H and W. Shares the model's weights.

    Follows `SSD.postprocess_detections`; the classes are suppressed side by side.
    """

    anchors: Tensor
    limits: Tensor
    coder_weights: Tensor

    def __init__(self, model: SSD, height: int, width: int) -> None:
        super().__init__()
        self.preparation = Preparation(model.transform, height, width)
        self.backbone = model.backbone
        self.head = model.head
        features, image = probe(model.backbone, self.preparation)
        with torch.no_grad():
            anchors = model.anchor_generator(image, list(features.values()))[0]
        self.candidates = check_topk(min(model.topk_candidates, len(anchors)), "topk_candidates")
        self.detections = check_topk(model.detections_per_img, "detections_per_img")
        self.largest_log_scale = float(model.box_coder.bbox_xform_clip)
        self.score_thresh = float(model.score_thresh)
        self.suppression = GroupedSuppression(model.nms_thresh)
        self.register_buffer("anchors", to_centers(anchors), persistent=False)
        self.register_buffer("limits", image_limits(height, width).to(anchors.device), persistent=False)
        self.register_buffer("coder_weights", torch.tensor(model.box_coder.weights), persistent=False)

    def forward(self, images: Tensor) -> Detections:
        features = features_of(self.backbone, self.preparation(images))
        outputs = self.head(list(features.values()))
        deltas = outputs["bbox_regression"] / self.coder_weights
        boxes = clip(decode(deltas, self.anchors, self.largest_log_scale), self.limits)

        scores = torch.softmax(outputs["cls_logits"], dim=-1)[..., 1:].transpose(1, 2)
        scores, index = best(scores, self.candidates)
        batch, classes, count = extents(scores)
        boxes = take_rows(boxes, index.reshape(batch, -1))
        groups = boxes.view(-1, count, 4)
        kept = self.suppression(groups, (scores > self.score_thresh).view(-1, count)).view(extents(scores))
        scores = scores.masked_fill(~kept, -1.0).view(batch, -1)

        scores, index = best(scores, min(self.detections, classes * count))
        real = scores >= 0
        boxes = take_rows(boxes, index).masked_fill(~real.unsqueeze(-1), 0.0)
        labels = (torch.div(index, count, rounding_mode="trunc") + 1).masked_fill(~real, 0)
        return pad_rows(boxes, self.detections), pad_rows(scores, self.detections, -1.0), labels
