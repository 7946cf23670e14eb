"""Training without labels: the model learns to give what it gave before it was rounded or pruned.

Any examples do for that, those of the calibration among them (Polino et al. 2018, arXiv:1802.05668).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.outputs import flatten

if TYPE_CHECKING:
    import torch
    from torch import nn

Feeds = Callable[[], Iterable[Mapping[str, Any]]]
"""Starts a pass over the examples: input names to arrays, in the order of the model's inputs."""

Call: TypeAlias = "Callable[[nn.Module, Sequence[torch.Tensor]], Any]"
"""What a model gives for the tensors of a feed."""

BATCH = 8
"""Rows of a step, where the model takes as many."""
STEPS = 150
RATE, PRUNED_RATE = 5e-5, 5e-4
"""Of Adam at the first step; it falls to 0 along a cosine. Rounding leaves little to be made good, and a high rate undoes
more than that: MobileNetV2 (60 steps) agrees with itself on 93.5 % of crops at 5e-5, from 87.5 %. Pruning leaves more: on
the digits 2e-4, 5e-4 and 1e-3 make good 95, 96 and 97 % of what it costs.
"""


def _by_place(model: nn.Module, tensors: Sequence[torch.Tensor]) -> Any:
    return model(*tensors)


def distillation(
    teacher: nn.Module, feeds: Feeds, steps: int = STEPS, rate: float = RATE, call: Call = _by_place
) -> Callable[[nn.Module], Iterator[float]]:
    """A function for `train`. `teacher` is the model as it was, in evaluation mode; it stays as it is.

    The one that learns is in evaluation mode too: dropout would have it learn noise, and BatchNorm has the statistics
    of the data that it was trained on, which are better than those of a few examples.
    """
    import torch

    def function(model: nn.Module) -> Iterator[float]:
        model.eval()
        optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        size = BATCH if _takes_batches(partial(call, teacher), feeds) else 1
        for _, inputs in zip(range(steps), _batches(feeds, size), strict=False):
            with torch.no_grad():
                wanted = flatten(call(teacher, inputs))[1]
            loss = _difference(flatten(call(model, inputs))[1], wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            yield loss.item()

    return function


def _difference(given: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean over the outputs of their mean square error, each over its own variance: outputs count alike."""
    import torch

    errors = [
        (one - other).square().mean() / other.var().clamp(min=torch.finfo(torch.float32).eps)
        for one, other in zip(given, wanted, strict=True)
        if other.is_floating_point()
    ]
    if not errors:
        raise UserError("no output is a floating-point tensor, so nothing can be distilled; give --finetune")
    return torch.stack(errors).mean()


def _batches(feeds: Feeds, size: int) -> Iterator[list[torch.Tensor]]:
    """The model's arguments, `size` examples together, without end: after the last one comes the first."""
    import torch

    waiting: list[list[torch.Tensor]] = []
    while True:
        for feed in feeds():
            waiting.append([torch.from_numpy(array.copy()) for array in feed.values()])
            if len(waiting) == size:
                yield [torch.cat(tensors) for tensors in zip(*waiting, strict=True)] if size > 1 else waiting[0]
                waiting.clear()


def _takes_batches(model: Callable[[Sequence[torch.Tensor]], Any], feeds: Feeds) -> bool:
    """Does the model answer two examples at once as it answers the first alone?"""
    import torch

    first, both = next(_batches(feeds, 1)), next(_batches(feeds, 2))
    with torch.no_grad():
        alone = flatten(model(first))[1]
        try:
            together = flatten(model(both))[1]
        except Exception:  # noqa: BLE001 - a stranger's forward may raise anything where it counts on its batch size
            return False
    return all(
        one.dim() > 0 and one.shape[1:] == two.shape[1:] and torch.allclose(one, two[: len(one)], rtol=1e-3, atol=1e-4)
        for one, two in zip(alone, together, strict=True)
    )
