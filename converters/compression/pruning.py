"""Structured pruning: the least important channels of each group go, where the proof holds and the sizes left suit engines."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from enginesmith.converters.compression.cutting import cut_of
from enginesmith.converters.compression.groups import Anatomy, Group, Site, anatomy, export
from enginesmith.converters.compression.importance import importance
from enginesmith.converters.compression.proof import TOLERANCE, difference, shaken
from enginesmith.converters.compression.record import CutGroup, Pruning
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Importance
from enginesmith.converters.torch_models.cut import Cut, apply

if TYPE_CHECKING:
    from torch import nn

MULTIPLE = 8
"""Of the channels that a layer is left with: engines compute in blocks of them, and 59 may be slower than 64."""
UNEVEN = f"no cut of about this size leaves a multiple of {MULTIPLE} channels"

Flat = Callable[["nn.Module"], "nn.Module"]


def prune(
    module: nn.Module,
    flat: Flat,
    tensors: Sequence[torch.Tensor],
    ratio: float,
    *,
    kind: Importance = "l1",
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Cut, Pruning]:
    """Cut `ratio` of the channels of every group of a module that can be, in place.

    `flat` makes of the module one that takes `tensors` and returns a flat tuple of them. Raises UserError where
    torch.export doesn't take that, and where nothing is left to be cut.
    """
    progress("which channels hang together")
    found = anatomy(export(flat(module), tensors))
    state = {name: found.values(module)[node] for node, name in found.state.items()}
    sizes = {site: len(roots) for site, roots in found.sites.items()}
    asked: list[tuple[Group, list[int]]] = []
    for group in found.groups:
        order = np.argsort(importance(found, group, state, kind, seed), kind="stable")
        gone = _within_multiples(found, group, [group.channels[index] for index in order], ratio, sizes)
        if gone:
            asked.append((group, gone))
        else:
            found.left.setdefault(group.name, UNEVEN)
    prover = partial(_prove, found, module, shaken(module, seed), flat, tensors)
    proved, proof = _proved(found, asked, prover, progress)
    if not proved:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(found.left.items())[:3])
        raise UserError(f"no channel of the model can be cut ({reasons or 'it has no layer with weights'})")
    before = _size(module, flat, tensors)
    cut = proof[0]
    apply(module, cut)
    after = _size(module, flat, tensors)
    return cut, Pruning(
        ratio=ratio,
        importance=kind,
        groups=[
            CutGroup(
                name=group.name,
                layers=[name.rpartition(".")[0] for name, _ in group.makers],
                channels=len(group.channels),
                cut=len(gone),
                difference=apart,
            )
            for group, gone, apart in proved
        ],
        left=found.left,
        parameters=(before[0], after[0]),
        operations=(before[1], after[1]),
        difference=proof[1],
    )


def _within_multiples(
    found: Anatomy, group: Group, channels: list[int], ratio: float, sizes: dict[Site, int]
) -> list[int]:
    """As many of the channels, the first of them first, as come nearest to the ratio and leave every layer that makes them a
    multiple. `sizes` are those left so far.
    """
    wanted = ratio * len(channels)
    counts = sorted(range(1, len(channels)), key=lambda count: abs(count - wanted))
    weights = {site: dict(zip(*np.unique(found.sites[site], return_counts=True), strict=True)) for site in group.makers}
    for count in counts:
        if abs(count - wanted) > max(wanted, MULTIPLE / 2):
            break
        lost = {site: int(sum(weights[site][channel] for channel in channels[:count])) for site in group.makers}
        if all(sizes[site] > each and (sizes[site] - each) % MULTIPLE == 0 for site, each in lost.items()):
            for site, each in lost.items():
                sizes[site] -= each
            return channels[:count]
    return []


Prover = Callable[[Sequence[int]], "tuple[Cut, float | str]"]


def _prove(
    found: Anatomy,
    module: nn.Module,
    other: nn.Module,
    flat: Flat,
    tensors: Sequence[torch.Tensor],
    gone: Sequence[int],
) -> tuple[Cut, float | str]:
    """The cut, and the difference that it makes with other weights and with the model's own; or why it can't be."""
    told = ""
    for sizes in (True, False):
        cut = cut_of(found, module, gone, sizes)
        worst, refused = 0.0, ""
        for each in (other, module):
            apart = difference(found, each, cut, gone, flat, tensors)
            if isinstance(apart, str):
                refused = apart
                break
            worst = max(worst, apart)
            if apart > TOLERANCE:
                break
        if not refused and worst <= TOLERANCE:
            return cut, worst
        told = told or refused or f"the outputs differ by {worst:.1e} from those with the channels zero"
    return cut, told


def _proved(
    found: Anatomy, asked: list[tuple[Group, list[int]]], prover: Prover, progress: Callable[[str], None]
) -> tuple[list[tuple[Group, list[int], float]], tuple[Cut, float]]:
    """All at once; where that fails each half by itself, down to the groups that are at fault, which stay whole."""
    progress(f"proving {len(asked)} groups")
    good: list[tuple[Group, list[int], float]] = []
    proof = Cut(), 0.0

    def settle(part: list[tuple[Group, list[int]]]) -> None:
        nonlocal proof
        if not part:
            return
        gone = [channel for _, channels, _ in good for channel in channels]
        cut, told = prover([*gone, *(channel for _, channels in part for channel in channels)])
        if isinstance(told, float):
            good.extend((*each, told) for each in part)
            proof = cut, told
        elif len(part) == 1:
            found.left[part[0][0].name] = told
        else:
            settle(part[: len(part) // 2])
            settle(part[len(part) // 2 :])

    settle(asked)
    return good, proof


def _size(module: nn.Module, flat: Flat, tensors: Sequence[torch.Tensor]) -> tuple[int, int]:
    """Parameters, and operations of a call."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        flat(copy.deepcopy(module))(*tensors)
    return sum(each.numel() for each in module.parameters()), counter.get_total_flops()
