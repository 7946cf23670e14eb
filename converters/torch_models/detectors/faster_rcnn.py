"""Faster R-CNN with fixed shapes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.ops.poolers import _infer_scale

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.detectors.base import (
    Detections,
    Preparation,
    anchors_per_level,
    features_of,
    image_limits,
    per_anchor,
    probe,
)
from enginesmith.converters.torch_models.detectors.boxes import (
    best,
    check_topk,
    clip,
    decode,
    extents,
    has_size,
    pad_rows,
    take_rows,
    to_centers,
)
from enginesmith.converters.torch_models.detectors.nms import GreedySelection, GroupedSuppression
from enginesmith.converters.torch_models.detectors.roi_pooling import PyramidPooling

SMALLEST_DETECTION = 1e-2
"""Pixels; `RoIHeads.postprocess_detections` drops boxes with a shorter side."""


class StaticProposals(nn.Module):
    """A region proposal network: `RegionProposalNetwork.filter_proposals`, with masks in place of filters.

    forward(features) -> (boxes float32[N, P, 4], scores float32[N, P]) by falling score; score -1 marks padding.
    """

    limits: Tensor

    def __init__(self, model: FasterRCNN, anchors: list[Tensor], limits: Tensor, proposals: int | None) -> None:
        super().__init__()
        rpn = model.rpn
        self.head = rpn.head
        self.largest_log_scale = float(rpn.box_coder.bbox_xform_clip)
        self.smallest = float(rpn.min_size)
        self.score_thresh = float(rpn.score_thresh)
        self.candidates = [min(rpn.pre_nms_top_n(), len(level)) for level in anchors]
        for count in self.candidates:
            check_topk(count, "rpn_pre_nms_top_n_test")
        wanted = rpn.post_nms_top_n() if proposals is None else proposals
        self.proposals = check_topk(min(wanted, sum(self.candidates)), "rpn_post_nms_top_n_test")
        self.suppression = GroupedSuppression(rpn.nms_thresh)
        self.register_buffer("limits", limits, persistent=False)
        for level, boxes in enumerate(anchors):
            self.register_buffer(f"anchors{level}", to_centers(boxes).unsqueeze(0), persistent=False)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        per_level = [
            self._level(level, *outputs) for level, outputs in enumerate(zip(*self.head(features), strict=True))
        ]
        longest = max(self.candidates)
        boxes = torch.stack([pad_rows(boxes, longest) for boxes, _ in per_level], dim=1)
        scores = torch.stack([pad_rows(scores, longest, -1.0) for _, scores in per_level], dim=1)

        images, levels, count = extents(scores)
        valid = has_size(boxes, self.smallest) & (scores >= max(self.score_thresh, 0.0))
        kept = self.suppression(boxes.view(-1, count, 4), valid.view(-1, count)).view(images, levels, count)
        scores = scores.masked_fill(~kept, -1.0).view(images, -1)
        scores, index = best(scores, self.proposals)
        return take_rows(boxes.view(images, -1, 4), index), scores

    def _level(self, level: int, logits: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """The most promising boxes [N, n, 4] of a level, clipped, and their scores [N, n], by falling score."""
        logits = per_anchor(logits, 1).flatten(1)
        # torch.topk, not `best`: torchvision breaks the ties here in the same way.
        logits, index = best(logits, self.candidates[level])
        deltas = take_rows(per_anchor(deltas, 4), index)
        anchors: Tensor = getattr(self, f"anchors{level}")
        anchors = anchors[0].index_select(0, index.reshape(-1)).view(extents(deltas))
        return clip(decode(deltas, anchors, self.largest_log_scale), self.limits), torch.sigmoid(logits)


class StaticFasterRCNN(nn.Module):
    """forward(images float32[N, 3, H, W] in 0..1) -> Detections, for one fixed H and W. Shares the model's weights."""

    limits: Tensor
    coder_weights: Tensor

    def __init__(self, model: FasterRCNN, height: int, width: int, proposals: int | None = None) -> None:
        """`proposals` replaces `rpn_post_nms_top_n_test`. Raises UserError for what has no fixed shape."""
        super().__init__()
        if proposals is not None and proposals < 1:
            raise UserError(f"proposals is {proposals}; it must be at least 1")
        heads = model.roi_heads
        self.preparation = Preparation(model.transform, height, width)
        self.backbone = model.backbone
        features, image = probe(model.backbone, self.preparation)
        anchors = anchors_per_level(model.rpn.anchor_generator, image, list(features.values()))
        limits = image_limits(height, width).to(image.tensors.device)
        self.rpn = StaticProposals(model, anchors, limits, proposals)

        self.pooled_names = [name for name in features if name in heads.box_roi_pool.featmap_names]
        pooled = [features[name] for name in self.pooled_names]
        scales = [_infer_scale(feature, [height, width]) for feature in pooled]
        sizes = [(int(feature.shape[-2]), int(feature.shape[-1])) for feature in pooled]
        self.pooling = PyramidPooling(heads.box_roi_pool, sizes, scales).to(limits.device)
        self.box_head = ChannelsLastHead(heads.box_head, self.pooling.bins, int(pooled[0].shape[1]))
        self.box_predictor = heads.box_predictor

        self.largest_log_scale = float(heads.box_coder.bbox_xform_clip)
        self.score_thresh = float(heads.score_thresh)
        self.selection = GreedySelection(heads.nms_thresh, heads.detections_per_img)
        self.register_buffer("limits", limits, persistent=False)
        self.register_buffer("coder_weights", torch.tensor(heads.box_coder.weights), persistent=False)

    def forward(self, images: Tensor) -> Detections:
        features = features_of(self.backbone, self.preparation(images))
        proposals, proposal_scores = self.rpn(list(features.values()))
        pooled = self.pooling([features[name] for name in self.pooled_names], proposals)
        logits, deltas = self.box_predictor(self.box_head(pooled))

        # Softmax scores sum to 1, so no more than 1 / score_thresh labels of a proposal can pass the threshold.
        batch, count = extents(proposal_scores)
        classes = extents(logits)[-1]
        most = classes - 1 if self.score_thresh <= 0 else min(classes - 1, math.ceil(1 / self.score_thresh))
        scores, label = best(torch.softmax(logits, dim=-1)[:, 1:], most)
        label = label + 1
        deltas = take_rows(deltas.view(batch * count, classes, 4), label) / self.coder_weights
        centers = to_centers(proposals).view(-1, 1, 4).expand(-1, most, -1)
        boxes = clip(decode(deltas, centers, self.largest_log_scale), self.limits)
        real = (proposal_scores >= 0).view(-1, 1)
        valid = (scores > self.score_thresh) & has_size(boxes, SMALLEST_DETECTION) & real
        scores = scores.masked_fill(~valid, -1.0)
        detections: Detections = self.selection(boxes.view(batch, -1, 4), scores.view(batch, -1), label.view(batch, -1))
        return detections


class ChannelsLastHead(nn.Module):
    """A box head on bins float32[P, bins_y, bins_x, channels]; the original takes [P, channels, bins_y, bins_x].

    A head that begins with a linear layer has that layer's columns reordered; for any other the bins are transposed.
    """

    def __init__(self, head: nn.Module, bins: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.linear: nn.Linear | None = None
        self.head: nn.Module = head
        if isinstance(head, TwoMLPHead):
            weight = head.fc6.weight.detach()
            self.linear = nn.Linear(weight.shape[1], weight.shape[0]).to(weight)
            self.linear.weight.data = weight.view(-1, channels, *bins).permute(0, 2, 3, 1).reshape(weight.shape)
            self.linear.bias.data = head.fc6.bias.detach()
            self.head = head.fc7

    def forward(self, bins: Tensor) -> Tensor:
        if self.linear is None:
            features: Tensor = self.head(bins.permute(0, 3, 1, 2))
            return features
        hidden = torch.relu(self.linear(bins.flatten(1)))
        return torch.relu(self.head(hidden))
