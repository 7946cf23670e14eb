"""RetinaNet with fixed shapes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet

from enginesmith.converters.torch_models.detectors.base import (
    Detections,
    Preparation,
    anchors_per_level,
    features_of,
    image_limits,
    probe,
)
from enginesmith.converters.torch_models.detectors.boxes import (
    best,
    check_topk,
    clip,
    decode,
    extents,
    take_rows,
    to_centers,
)
from enginesmith.converters.torch_models.detectors.nms import GreedySelection


class StaticRetinaNet(nn.Module):
    """forward(images float32[N, 3, H, W] in 0..1) -> Detections, for one fixed H and W. Shares the model's weights.

    Follows `RetinaNet.postprocess_detections`.
    """

    limits: Tensor

    def __init__(self, model: RetinaNet, height: int, width: int) -> None:
        super().__init__()
        self.preparation = Preparation(model.transform, height, width)
        self.backbone = model.backbone
        self.head = model.head
        features, image = probe(model.backbone, self.preparation)
        for level, anchors in enumerate(anchors_per_level(model.anchor_generator, image, list(features.values()))):
            self.register_buffer(f"anchors{level}", to_centers(anchors), persistent=False)
        self.candidates = check_topk(model.topk_candidates, "topk_candidates")
        self.largest_log_scale = float(model.box_coder.bbox_xform_clip)
        self.score_thresh = float(model.score_thresh)
        self.selection = GreedySelection(model.nms_thresh, model.detections_per_img)
        self.register_buffer("limits", image_limits(height, width).to(image.tensors.device), persistent=False)

    def forward(self, images: Tensor) -> Detections:
        features = features_of(self.backbone, self.preparation(images)).values()
        levels = [self._level(level, feature) for level, feature in enumerate(features)]
        boxes, scores, labels = (torch.cat(parts, dim=1) for parts in zip(*levels, strict=True))
        detections: Detections = self.selection(boxes, scores, labels)
        return detections

    def _level(self, level: int, feature: Tensor) -> Detections:
        """The best candidates of a level: boxes [N, n, 4], scores [N, n] (-1 below the threshold), labels [N, n]."""
        outputs = self.head([feature])
        logits, deltas = outputs["cls_logits"], outputs["bbox_regression"]
        classes = extents(logits)[-1]
        scores = torch.sigmoid(logits).flatten(1)
        scores, index = best(scores, min(self.candidates, extents(scores)[1]))
        anchor = torch.div(index, classes, rounding_mode="trunc")
        anchors: Tensor = getattr(self, f"anchors{level}")
        references = anchors.index_select(0, anchor.reshape(-1)).view(*extents(anchor), 4)
        boxes = clip(decode(take_rows(deltas, anchor), references, self.largest_log_scale), self.limits)
        return boxes, scores.masked_fill(scores <= self.score_thresh, -1.0), index - anchor * classes
