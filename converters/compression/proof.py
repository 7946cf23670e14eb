"""Proof of a cut: the module without its channels gives what the whole one gives where they are zero wherever they are read."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from enginesmith.converters.compression.groups import Anatomy
from enginesmith.converters.compression.labels import Dims
from enginesmith.converters.core.errors import first_line
from enginesmith.converters.torch_models.cut import Cut, apply

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from torch.fx import Node

TOLERANCE = 1e-5
"""Largest difference over the largest magnitude of an output."""
SHAKE = 0.5


class Masked(torch.fx.Interpreter):
    """Runs a program with some channels zero after every node. What a channel became on the way (a sigmoid's 0.5) is gone
    before it is read.
    """

    def __init__(self, found: Anatomy, gone: Iterable[int]) -> None:
        super().__init__(found.program.graph_module)
        self._found, self._gone = found, found.flow.labels.table(gone)

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        dims = self._found.flow.values.get(n)
        if isinstance(result, tuple | list) and isinstance(dims, list):
            return type(result)(self._masked(part, own) for part, own in zip(result, dims, strict=False))
        return self._masked(result, dims) if isinstance(dims, tuple) else result

    def _masked(self, value: Any, dims: Dims) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        for axis, labels in enumerate(dims):
            lost = self._found.flow.labels.among(labels, self._gone)
            if lost.any():  # not by a product: what has no use may be NaN
                place = [1] * value.dim()
                place[axis] = -1
                value = value.masked_fill(torch.from_numpy(lost).reshape(place), 0)
        return value


def shaken(module: nn.Module, seed: int) -> nn.Module:
    """A copy in which no scale is zero or nearly so: behind a zero any cut would look right."""
    made = copy.deepcopy(module)
    random = torch.Generator().manual_seed(seed)
    for tensor in (*made.parameters(), *made.buffers()):
        if tensor.is_floating_point() and tensor.numel() == max(tensor.shape, default=0):
            noise = torch.rand(tensor.shape, generator=random) * SHAKE
            tensor.data.add_(noise.to(tensor.dtype))
    return made


def difference(
    found: Anatomy,
    module: nn.Module,
    cut: Cut,
    gone: Iterable[int],
    flat: Callable[[nn.Module], nn.Module],
    tensors: Sequence[torch.Tensor],
) -> float | str:
    """Largest difference of an output, over its largest magnitude; or why the cut module doesn't run. `flat` makes of the
    model the module that the program is of.
    """
    pruned = copy.deepcopy(module)
    apply(pruned, cut)
    with torch.no_grad():
        wanted = Masked(found, gone).run(*arguments(found, module, tensors))
        try:
            given = flat(pruned)(*tensors)
        except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything at sizes that it doesn't expect
            return f"its forward doesn't run with the channels that are left: {first_line(error)}"
    worst = 0.0
    for one, other in zip(given, wanted, strict=True):
        if one.shape != other.shape:
            return f"an output is {[*one.shape]}, not {[*other.shape]}"
        if one.is_floating_point() and one.numel():
            scale = float(other.abs().max()) or 1.0
            worst = max(worst, float((one - other).abs().max()) / scale)
        elif not torch.equal(one, other):
            return "an output of integers differs"
        if worst != worst:
            return "it gives NaN"
    return worst


def arguments(found: Anatomy, module: nn.Module, tensors: Sequence[torch.Tensor]) -> list[Any]:
    """Of the program's placeholders, in order: the module's own tensors, constants, inputs."""
    own: Mapping[str, torch.Tensor] = found.values(module)
    constants = {
        node: found.program.constants[name]
        for node, name in found.program.graph_signature.inputs_to_lifted_tensor_constants.items()
    }
    waiting = list(tensors)
    return [
        own[node.name] if node.name in own else constants[node.name] if node.name in constants else waiting.pop(0)
        for node in found.program.graph.nodes
        if node.op == "placeholder"
    ]
