"""The groups of channels of a torch model that can be cut, and why the others can't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from enginesmith.converters.compression import layers, operators  # noqa: F401 - they register their rules
from enginesmith.converters.compression.flow import Flow
from enginesmith.converters.compression.labels import FIXED, Indices
from enginesmith.converters.compression.reshaping import Splits
from enginesmith.converters.compression.rules import RULES
from enginesmith.converters.core.errors import UserError, first_line

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import Node

Site = tuple[str, int]
"""A dimension of a parameter or buffer, by its name."""
INNER = "inner."
"""Where a flat module has the model."""


@dataclass
class Group:
    """Channels that lie in the same dimensions of the same tensors. Each channel is one class of labels, and may have several
    indices in a dimension: a head has its width.
    """

    name: str
    """The first layer that makes them."""
    channels: list[int]
    """The classes, in order."""
    makers: list[Site]
    """Dimensions of weights along which layers make them."""
    sites: list[Site]


@dataclass
class Anatomy:
    """What a model's program says about its channels."""

    program: torch.export.ExportedProgram
    flow: Flow
    state: dict[str, str]
    """Placeholder to the name in the model."""
    sites: dict[Site, Indices]
    """Classes along each dimension."""
    groups: list[Group] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    """Layers whose channels can't be cut, and why."""

    def values(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """What a module of this program has at the placeholders."""
        return {node: _tensor(module, name) for node, name in self.state.items()}


def export(flat: nn.Module, tensors: Sequence[torch.Tensor]) -> torch.export.ExportedProgram:
    """A functional program of a flat module. Raises UserError where torch.export doesn't take it."""
    try:
        with torch.no_grad():
            program = torch.export.export(flat, tuple(tensors), strict=False)
            functional: torch.export.ExportedProgram = program.run_decompositions({})
            return functional
    except Exception as error:
        raise UserError(
            f"torch.export can't take the model, so its channels aren't known: {first_line(error)}"
        ) from error


def anatomy(program: torch.export.ExportedProgram) -> Anatomy:
    """Where a view leaves open along which factor the channels lie, the one is taken that leaves most of them free."""
    best, splits = None, Splits()
    best = _studied(program, splits)
    for factors in list(splits.chosen):
        for axis in range(len(factors)):
            if axis == best.flow.splits.chosen[factors] or factors[axis] == 1:
                continue
            other = _studied(program, Splits(best.flow.splits.chosen | {factors: axis}))
            if _free(other) > _free(best):
                best = other
    return best


def _free(found: Anatomy) -> int:
    return sum(len(group.channels) for group in found.groups)


def _studied(program: torch.export.ExportedProgram, splits: Splits) -> Anatomy:
    signature = program.graph_signature
    state = {
        node: name.removeprefix(INNER)
        for names in (signature.inputs_to_parameters, signature.inputs_to_buffers)
        for node, name in names.items()
    }
    flow = Flow(splits)
    flow.run(program.graph, state, RULES)
    sites: dict[Site, Indices] = {}
    nodes = {node.name: node for node in program.graph.nodes}
    for node, name in state.items():
        for axis, labels in enumerate(flow.of(nodes[node])):
            if labels.any():
                sites[name, axis] = flow.labels.find(labels)
    found = Anatomy(program, flow, state, sites)
    _group(found)
    return found


def _group(found: Anatomy) -> None:
    """Classes by the sites that they lie in."""
    frozen = found.flow.labels.frozen()
    where: dict[int, list[Site]] = {}
    for site, roots in found.sites.items():
        for root in np.unique(roots):
            where.setdefault(int(root), []).append(site)
    makers: dict[Site, None] = {}
    for product in found.flow.products:
        if name := _origin(found, product.weight):
            site = name, product.axis
            makers[site] = None
            reasons = {frozen[int(root)] for root in found.sites.get(site, ()) if int(root) in frozen} - {""}
            if reasons:
                found.left[name.rpartition(".")[0] or name] = sorted(reasons)[0]
    members: dict[tuple[Site, ...], list[int]] = {}
    for root, places in sorted(where.items()):
        if root not in frozen and root != FIXED and any(site in makers for site in places):
            members.setdefault(tuple(places), []).append(root)
    for together, channels in members.items():
        made = [site for site in makers if site in together]
        name = made[0][0].rpartition(".")[0]
        found.groups.append(Group(name, channels, made, list(together)))
    found.groups.sort(key=lambda group: list(makers).index(group.makers[0]))


def _origin(found: Anatomy, node: Node) -> str:
    """The parameter that a weight is, empty where it is computed."""
    return found.state.get(node.name, "") if node.op == "placeholder" else ""


def _tensor(module: nn.Module, name: str) -> torch.Tensor:
    path, _, leaf = name.rpartition(".")
    found = getattr(module.get_submodule(path), leaf)
    assert isinstance(found, torch.Tensor)
    return found
