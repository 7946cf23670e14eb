"""Exact greedy non-maximum suppression with fixed shapes, without loops, and without any bound on the chains.

Greedy suppression goes through the boxes by falling score and keeps a box if no box kept before it overlaps it by more
than the threshold. That is inherently sequential (finding the result is P-complete), and a graph without loops has to
unroll it. Two ways keep the unrolled graph small:

- `GroupedSuppression` decides every box of many independent groups (levels of an RPN, classes of an SSD head).
  It advances by `BLOCK` boxes at a time, with six small nodes a block;
- `GreedySelection` finds only the best D survivors among very many candidates, ten nodes each.

Both follow the definition for any input, such as chains in which every box suppresses the next one.
Scores may be equal: the lower index goes first, as in `torchvision.ops.nms`, whose sort is stable.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.detectors.boxes import area, extents, take_rows

BLOCK = 8
"""Boxes decided at once. A block's table has 2**BLOCK columns; 8 is where tables and steps cost about the same."""

STRIPES = 4
"""Parts into which the overlap matrix is cut, so that only what lies below its diagonal is computed: 62 % with four."""


def exceeds(ratio: Tensor, threshold: float) -> Tensor:
    """Mask of `ratio > threshold` as torchvision's kernels decide it, which compare a float32 with a double.

    The constant is the largest float32 that is not above the threshold: the float32 nearest to 0.55 lies above 0.55.
    """
    bound = np.float32(threshold)
    if float(bound) > threshold:
        bound = np.nextafter(bound, np.float32(-np.inf))
    return ratio > float(bound)


class GroupedSuppression(nn.Module):
    """Which boxes survive, in G independent groups of n boxes, each sorted by falling score.

    forward(boxes float32[G, n, 4], valid bool[G, n]) -> bool[G, n]; boxes that are not valid neither survive nor suppress.

    A block of 8 boxes is in one of 256 states when its turn comes: which of its boxes the kept boxes before it left
    alive. What survives of each state depends on the overlaps inside the block only, so it is tabulated for all blocks
    and states at once. The sequential part of a block is then three small products:

        alive = relu(1 - overlaps with the kept boxes)     state = relu(patterns @ alive)     kept = table @ state

    where row p of `patterns` turns `alive` into 1 if it equals pattern p, else into 0 or less. All values are small
    integers, exact in any floating-point type.
    """

    patterns: Tensor
    """float32[2**BLOCK, 1 + BLOCK]: the bias, then +1 and -1 for each bit."""
    bits: Tensor
    """float32[BLOCK, 2**BLOCK]: the states themselves."""
    earlier: Tensor
    """float32[BLOCK, BLOCK]: 1 where the column's box precedes the row's."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=BLOCK)))
        # A state that equals the pattern scores its number of ones, any other one less than that; the bias makes it 1.
        bias = 1 - states.sum(dim=1, keepdim=True)
        self.register_buffer("patterns", torch.cat((bias, 2 * states - 1), dim=1), persistent=False)
        self.register_buffer("bits", states.T.contiguous(), persistent=False)
        self.register_buffer("earlier", torch.ones(BLOCK, BLOCK).tril(-1), persistent=False)

    def forward(self, boxes: Tensor, valid: Tensor) -> Tensor:
        count = extents(boxes)[1]
        stripe = -(-count // (STRIPES * BLOCK)) * BLOCK
        missing = -count % stripe
        boxes = nn.functional.pad(boxes, (0, 0, 0, missing))
        alive = nn.functional.pad(valid.to(boxes.dtype), (0, missing)).unsqueeze(-1)
        tables = self._tables(boxes)

        kept = alive[:, :0]
        for start in range(0, count, stripe):
            end = start + stripe
            overlaps = self._overlaps(boxes[:, start:end], boxes[:, :end])
            entering = alive[:, start:end]
            if start:
                entering = entering + torch.matmul(overlaps[:, :, :start], kept)
            stripe_tables = tables[start // BLOCK : end // BLOCK]
            kept = torch.cat((kept, self._stripe(overlaps[:, :, start:], entering, stripe_tables)), dim=1)
        return kept[:, :count, 0] > 0.5

    def _overlaps(self, later: Tensor, boxes: Tensor) -> Tensor:
        """float32[G, rows, columns]: -1 where a box of `later` [G, rows, 4] overlaps too much with one of `boxes`."""
        x1, y1, x2, y2 = later.unsqueeze(2).unbind(-1)
        u1, v1, u2, v2 = boxes.unsqueeze(1).unbind(-1)
        width = torch.relu(torch.minimum(x2, u2) - torch.maximum(x1, u1))
        height = torch.relu(torch.minimum(y2, v2) - torch.maximum(y1, v1))
        shared = width * height
        union = area(later).unsqueeze(2) + area(boxes).unsqueeze(1) - shared
        # An empty union gives 0 / 0, which exceeds nothing, as in torchvision.
        return -exceeds(shared / union, self.threshold).to(shared.dtype)

    def _stripe(self, overlaps: Tensor, alive: Tensor, tables: Sequence[Tensor]) -> Tensor:
        """What is kept of one stripe, float32[G, n, 1]: 1 or 0.

        `overlaps` [G, n, n] within the stripe; `alive` [G, n, 1] is 1 for a valid box that no earlier stripe suppressed;
        `tables` are those of the stripe's blocks.
        """
        groups, count, _ = extents(overlaps)
        blocks = count // BLOCK
        # `kept` starts with a constant 1, whose column here holds `alive`; a first row hands that 1 on to `patterns`.
        rows = torch.cat((alive, overlaps), dim=-1).view(groups, blocks, BLOCK, 1 + count)
        constant = torch.eye(1, 1 + count, device=rows.device).expand(groups, blocks, 1, 1 + count)
        rows = torch.cat((constant, rows), dim=2)

        kept = [torch.ones(groups, 1, 1, 1, device=rows.device)]
        for row, table in zip(rows.split(1, dim=1), tables, strict=True):
            undecided = torch.zeros(groups, 1, count - (len(kept) - 1) * BLOCK, 1, device=rows.device)
            now = torch.relu(torch.matmul(row, torch.cat((*kept, undecided), dim=2)))
            state = torch.relu(torch.matmul(self.patterns, now))
            kept.append(torch.matmul(table, state))
        return torch.cat(kept[1:], dim=2).view(groups, count, 1)

    def _tables(self, boxes: Tensor) -> tuple[Tensor, ...]:
        """What each block of `boxes` [G, n, 4] keeps of each state: n / BLOCK tables float32[G, 1, BLOCK, 2**BLOCK].

        Each round settles at least one more box, the first one before any: BLOCK - 1 rounds settle all.
        """
        groups = extents(boxes)[0]
        blocks = boxes.reshape(-1, BLOCK, 4)
        overlaps = self._overlaps(blocks, blocks) * self.earlier
        kept = self.bits
        for _ in range(BLOCK - 1):
            kept = torch.relu(self.bits + torch.matmul(overlaps, kept))
        tables: tuple[Tensor, ...] = kept.view(groups, -1, BLOCK, 2**BLOCK).split(1, dim=1)
        return tables


class GreedySelection(nn.Module):
    """The D best boxes that class-wise suppression leaves, of M candidates in any order.

    forward(boxes float32[N, M, 4], scores float32[N, M], labels int64[N, M]) -> (boxes float32[N, D, 4],
    scores float32[N, D], labels int64[N, D]) by falling score; a candidate with a negative score is none.
    Missing detections have score -1, label 0 and a box of zeros.

    It is the definition itself: take the best candidate left, remove all that it suppresses, D times over. Each step
    compares one box with M, so that the cost does not depend on how many candidates overlap.

    Overlap is decided as `shared > t / (1 + t) * (area + area)`, which is `IoU > t` with fewer nodes; an IoU within 1e-6
    of the threshold may fall on either side.
    """

    def __init__(self, threshold: float, count: int) -> None:
        super().__init__()
        if not 0 <= threshold < 1:
            raise UserError(f"nms_thresh is {threshold}; a static detector needs one from 0 to below 1")
        self.threshold = threshold
        self.count = count

    def forward(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # One more candidate than there are: it scores better than a removed one, so it is picked when nothing is left,
        # again and again, since it has no extent that could remove it.
        left = nn.functional.pad(scores.masked_fill(scores < 0, -1.0), (0, 1), value=-0.5)
        solids = [nn.functional.pad(part, (0, 1)) for part in self._pack(boxes, labels)]
        picks = self._picks(left, *solids)

        scores = torch.gather(left, 1, picks)
        boxes = take_rows(nn.functional.pad(boxes, (0, 0, 0, 1)), picks)
        labels = torch.gather(nn.functional.pad(labels, (0, 1)), 1, picks)
        return boxes, scores.masked_fill(scores < 0, -1.0), labels

    def _picks(self, left: Tensor, low: Tensor, high: Tensor, shares: Tensor) -> Tensor:
        """Indices int64[N, D] of the picked candidates; `left` float32[N, M] is what can still be picked."""
        images, candidates = extents(left)
        flat_low, flat_high, flat_shares = low.reshape(3, -1), high.reshape(3, -1), shares.reshape(-1)
        if images == 1:  # a single picture's parts broadcast against `left` as they are, without reshapes
            low, high, shares = flat_low, flat_high, flat_shares
        first = torch.arange(images, device=left.device) * candidates

        def taken(values: Tensor, index: Tensor) -> Tensor:
            values = values.index_select(-1, index)
            return values if images == 1 else values.unsqueeze(-1)

        picks = []
        for _ in range(self.count):
            pick = left.argmax(dim=1)
            picks.append(pick)
            at = pick if images == 1 else pick + first
            start, end, share = taken(flat_low, at), taken(flat_high, at), taken(flat_shares, at)
            sides = torch.relu(torch.minimum(high, end) - torch.maximum(low, start))
            left = left.masked_fill(sides.prod(dim=0) > shares + share, -1.0)
        return torch.cat(picks).view(self.count, images).T  # not torch.stack, which adds a node for each pick

    def _pack(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lower and upper bounds float32[3, N, M] of the candidates as solids, and `t / (1 + t) * area` float32[N, M].

        The third side stands for the label: solids of two labels do not touch, those of one label share 1.
        A box without an area neither suppresses nor is suppressed, but a picked one has to go: it becomes a unit box
        with a label of its own.
        """
        flat = area(boxes) <= 0
        unit = torch.tensor([0.0, 0.0, 1.0, 1.0], device=boxes.device)
        own = -2.0 * torch.arange(1, 1 + boxes.shape[1], dtype=boxes.dtype, device=boxes.device)
        boxes = torch.where(flat.unsqueeze(-1), unit, boxes)
        depth = torch.where(flat, own, 2.0 * labels.to(boxes.dtype))
        x1, y1, x2, y2 = boxes.unbind(-1)
        low = torch.stack((x1, y1, depth))
        high = torch.stack((x2, y2, depth + 1))
        return low, high, self.threshold / (1 + self.threshold) * area(boxes)
