"""How much each channel of a group matters, by the weights that make it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from enginesmith.converters.compression.groups import Anatomy, Group, Site
from enginesmith.converters.core.recipe import Importance

if TYPE_CHECKING:
    from collections.abc import Mapping

Scores = npt.NDArray[np.float64]


def importance(found: Anatomy, group: Group, state: Mapping[str, torch.Tensor], kind: Importance, seed: int) -> Scores:
    """One number for each channel of the group; the least go first. `state` has the tensors by name.

    `l1` and `l2` are the norms of the filters that make it (Li et al. 2017, arXiv:1608.08710), over their mean in each layer,
    so that layers of one group count alike; `bn` is the magnitude of BatchNorm's scale (Liu et al. 2017, arXiv:1708.06519),
    and l1 where there is none; `random` is what any of them must beat.
    """
    if kind == "random":
        return np.random.default_rng([seed, group.channels[0]]).random(len(group.channels))
    sites = group.makers
    if kind == "bn":
        sites = [site for site in group.sites if state[site[0]].dim() == 1 and _scales(site[0], state)] or sites
    total = np.zeros(len(group.channels))
    for site in sites:
        scores = _norms(state[site[0]], site[1], 2 if kind == "l2" else 1)
        channel = _summed(found, group, site, scores)
        total += channel / (channel.mean() or 1.0)
    return total


def _scales(name: str, state: Mapping[str, torch.Tensor]) -> bool:
    """Is it the scale of a normalization? Those of BatchNorm keep statistics beside it."""
    path, _, leaf = name.rpartition(".")
    return leaf == "weight" and f"{path}.running_var" in state


def _norms(weight: torch.Tensor, axis: int, order: int) -> Scores:
    rows = (
        weight.detach().double().movedim(axis, 0).flatten(1) if weight.dim() > 1 else weight.detach().double()[:, None]
    )
    made: Scores = rows.abs().pow(order).sum(1).numpy()
    return made


def _summed(found: Anatomy, group: Group, site: Site, scores: Scores) -> Scores:
    """Over the indices that a channel has in the dimension."""
    places = np.searchsorted(group.channels, found.sites[site])
    inside = np.isin(found.sites[site], group.channels)
    total: Scores = np.bincount(places[inside], weights=scores[inside], minlength=len(group.channels)).astype(
        np.float64
    )
    return total
