"""RoIAlign over a feature pyramid with fixed shapes: each box is sampled on its own level, and only there.

Stands for `torchvision.ops.MultiScaleRoIAlign` (RoIAlign: He et al., Mask R-CNN, arXiv 1703.06870; the choice of the
level: Lin et al., Feature Pyramid Networks, arXiv 1612.03144, eq. 1).

A bin's value is a weighted sum of cells, and the weights are a product of one for y and one for x. With s samples a bin
and side, 2 * s rows and 2 * s columns of cells matter for each bin. So all cells are gathered, as rows of channels, from
the levels laid end to end, and two small matrix products apply the weights of y and then of x. In ONNX Runtime that takes
0.6 of the time of its own RoiAlign, and 0.1 of GridSample's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.detectors.boxes import area, extents

CHUNK = 40
"""Boxes pooled at once: their cells (32 MB at 256 channels) then stay in the caches. 1000 at once take twice as long."""


class PyramidPooling(nn.Module):
    """Pools boxes to bins of a fixed size.

    forward(features, boxes float32[N, P, 4]) -> float32[N * P, bins_y, bins_x, channels], with `features` one
    float32[N, channels, H, W] per level, finest first. Boxes are in pixels of the input, which is `1 / scales[level]`
    cells of that level. Channels come last, as they are gathered.
    """

    sizes: Tensor
    """float32[levels, 2]: height and width of each level."""
    scales: Tensor
    """float32[levels]: cells per pixel."""
    starts: Tensor
    """int64[levels]: index of the first cell of each level."""
    widths: Tensor
    """int64[levels]: cells per row of each level."""
    thresholds: Tensor
    """float32[levels - 1]: boxes whose square root of the area reaches threshold i belong to level i + 1 or later."""

    def __init__(self, pooling: MultiScaleRoIAlign, sizes: Sequence[tuple[int, int]], scales: Sequence[float]) -> None:
        """`sizes` are the (height, width) of the levels, `scales` their cells per pixel, as torchvision infers them.

        Raises UserError for a pooling whose number of samples depends on the box.
        """
        super().__init__()
        if pooling.sampling_ratio < 1:
            raise UserError("RoI pooling with an adaptive number of samples (sampling_ratio < 1) has no fixed shape")
        self.bins = tuple(int(size) for size in pooling.output_size)
        self.samples = int(pooling.sampling_ratio)
        cells = [height * width for height, width in sizes]
        self.cells = sum(cells)
        self.register_buffer("sizes", torch.tensor(sizes, dtype=torch.float32), persistent=False)
        self.register_buffer("scales", torch.tensor(scales), persistent=False)
        self.register_buffer(
            "starts", torch.tensor([sum(cells[:level]) for level in range(len(cells))]), persistent=False
        )
        self.register_buffer("widths", torch.tensor([width for _, width in sizes]), persistent=False)
        # torchvision: level = floor(canonical_level + log2(side / canonical_scale) + 1e-6), clamped to the levels.
        finest, coarsest = (-round(math.log2(scale)) for scale in (scales[0], scales[-1]))
        steps = [level - pooling.canonical_level - 1e-6 for level in range(finest + 1, coarsest + 1)]
        thresholds = [pooling.canonical_scale * 2.0**step for step in steps]
        self.register_buffer("thresholds", torch.tensor(thresholds), persistent=False)

    def forward(self, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
        images = extents(boxes)[0]
        table = torch.cat([feature.flatten(2) for feature in features], dim=2).transpose(1, 2)
        channels = extents(table)[-1]
        table = table.reshape(-1, channels)

        sides = area(boxes).sqrt()
        level = torch.zeros_like(sides, dtype=torch.int64)
        if len(
            self.thresholds
        ):  # all levels have one scale with MobileNetV3, and ONNX Runtime sums over nothing wrongly
            level = (sides.unsqueeze(-1) >= self.thresholds).sum(dim=-1)
        first = self.starts[level]
        if images > 1:
            first = first + torch.arange(images, device=boxes.device).unsqueeze(1) * self.cells
        level, first, boxes = level.reshape(-1), first.reshape(-1, 1), boxes.reshape(-1, 4)
        scale = self.scales[level].unsqueeze(-1)
        size = self.sizes[level]
        x1, y1, x2, y2 = (boxes * scale).split(1, dim=-1)
        rows, weights_y = self._samples(y1, y2, size[:, :1], self.bins[0])
        columns, weights_x = self._samples(x1, x2, size[:, 1:], self.bins[1])
        rows = rows * self.widths[level].unsqueeze(-1) + first
        cells = rows.unsqueeze(2) + columns.unsqueeze(1)
        # [P, bins_y, 1, 2 * samples]: each bin has its own rows; [P, 1, bins_x, columns]: a band of the columns.
        weights_y = weights_y.view(-1, self.bins[0], 1, 2 * self.samples)
        band = torch.eye(self.bins[1], device=boxes.device).repeat_interleave(2 * self.samples, dim=1)
        weights_x = (weights_x.unsqueeze(1) * band).unsqueeze(1)

        pooled = []
        for cell, weight_y, weight_x in zip(
            cells.split(CHUNK), weights_y.split(CHUNK), weights_x.split(CHUNK), strict=True
        ):
            values = table.index_select(0, cell.reshape(-1))
            values = values.view(-1, self.bins[0], 2 * self.samples, extents(cell)[2] * channels)
            values = torch.matmul(weight_y, values).view(-1, self.bins[0], extents(cell)[2], channels)
            pooled.append(torch.matmul(weight_x, values))
        return torch.cat(pooled)

    def _samples(self, start: Tensor, end: Tensor, size: Tensor, bins: int) -> tuple[Tensor, Tensor]:
        """Cells int64[P, bins * samples * 2] that the samples along one side lie between, and their weights float32.

        `start`, `end` and `size` [P, 1] are the box's sides and the level's extent, in cells. The weights of a bin sum to
        1, less what lies outside: torchvision's kernel counts a sample beyond -1 or beyond the extent as 0, and clamps
        the others to the cells.
        """
        count = bins * self.samples
        step = torch.clamp(end - start, min=1.0) / bins
        index = torch.arange(count, device=start.device)
        part = ((index % self.samples) + 0.5) / self.samples
        position = start + torch.div(index, self.samples, rounding_mode="floor") * step + part * step
        inside = ((position >= -1) & (position <= size)).to(start.dtype) / self.samples
        position = torch.minimum(torch.clamp(position, min=0), size - 1)
        lower = position.floor()
        upper = torch.minimum(lower + 1, size - 1)
        fraction = position - lower
        cells = torch.stack((lower, upper), dim=-1).flatten(1)
        weights = torch.stack((inside * (1 - fraction), inside * fraction), dim=-1).flatten(1)
        return cells.to(torch.int64), weights
