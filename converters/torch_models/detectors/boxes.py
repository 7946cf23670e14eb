"""Box arithmetic with fixed shapes. Boxes are float32 (x1, y1, x2, y2) in pixels of the input unless named otherwise.

The order of the floating-point operations is torchvision's own, so that results agree to the last bit where they can.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from enginesmith.compat.operators import MAX_K
from enginesmith.converters.core.errors import UserError


def extents(tensor: Tensor) -> tuple[int, ...]:
    """The shape as numbers, in every mode: under `torch.jit.trace`, `tensor.shape` would bring shape arithmetic along."""
    return tuple(int(size) for size in tensor.shape)


def to_centers(boxes: Tensor) -> Tensor:
    """Corner boxes [..., 4] as (center x, center y, width, height)."""
    corner, opposite = boxes.split(2, dim=-1)
    size = opposite - corner
    return torch.cat((corner + 0.5 * size, size), dim=-1)


def decode(deltas: Tensor, references: Tensor, largest_log_scale: float) -> Tensor:
    """Boxes from regression outputs, as `torchvision.models.detection._utils.BoxCoder.decode_single` does.

    `deltas` [..., 4] are (dx, dy, dw, dh), already divided by the coder's weights; `references` [..., 4] are anchors or
    proposals as (center x, center y, width, height). `largest_log_scale` clamps dw and dh before the exponential.
    """
    shift, log_scale = deltas.split(2, dim=-1)
    center, size = references.split(2, dim=-1)
    center = shift * size + center
    half = 0.5 * (torch.exp(torch.clamp(log_scale, max=largest_log_scale)) * size)
    return torch.cat((center - half, center + half), dim=-1)


def clip(boxes: Tensor, limits: Tensor) -> Tensor:
    """Boxes [..., 4] moved into the picture; `limits` [4] is (width, height, width, height)."""
    return torch.minimum(torch.clamp(boxes, min=0), limits)


def has_size(boxes: Tensor, smallest: float) -> Tensor:
    """Mask [...] of the boxes [..., 4] whose sides are both at least `smallest` pixels (`remove_small_boxes`)."""
    corner, opposite = boxes.split(2, dim=-1)
    large: Tensor = (opposite - corner).amin(dim=-1) >= smallest
    return large


def area(boxes: Tensor) -> Tensor:
    """Areas [...] of boxes [..., 4], in square pixels."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1) * (y2 - y1)


def take_rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows `table[i, index[i]]` of a table [N, rows, columns], for an int64 index [N, ...]: [N, ..., columns].

    One Gather over the flattened table: GatherElements would repeat the index for every column.
    """
    batch, rows, columns = extents(table)
    if batch > 1:
        start = torch.arange(batch, device=index.device) * rows
        index = index + start.view(-1, *[1] * (index.dim() - 1))
    return table.reshape(batch * rows, columns).index_select(0, index.reshape(-1)).view(*extents(index), columns)


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of `scores` [..., M] in falling order, and their indices; the lower index wins a tie.

    That is how ONNX defines TopK, and how torchvision's stable sort orders the boxes that NMS keeps. `torch.topk` leaves
    ties open, so eager mode sorts instead.
    """
    if torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting():
        values, indices = scores.topk(count, dim=-1)
    else:
        values, indices = scores.contiguous().sort(dim=-1, descending=True, stable=True)
    return values[..., :count], indices[..., :count]


def check_topk(count: int, setting: str) -> int:
    """`count`, if an engine can select so many. Raises UserError, which names the model's `setting`."""
    if count > MAX_K:
        raise UserError(f"{setting} is {count}, but TensorRT-RTX selects at most {MAX_K}; lower it before the export")
    return count


def pad_rows(rows: Tensor, count: int, value: float = 0.0) -> Tensor:
    """[N, n] or [N, n, 4] filled up with `value` to `count` entries along the second dimension."""
    missing = count - extents(rows)[1]
    if missing == 0:
        return rows
    return functional.pad(rows, (0, 0) * (rows.dim() - 2) + (0, missing), value=value)
