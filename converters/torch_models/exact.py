"""A PyTorch model in float64: what of its outputs is computed, and what rounding in float32 made of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.samples import Array, Feed
from enginesmith.converters.torch_models.outputs import flatten

if TYPE_CHECKING:
    from torch import nn

SECONDS = 2.0
"""On all samples; the first one is run whatever it takes, the others as far as time allows."""


def exact_results(
    module: nn.Module,
    forward: Callable[[nn.Module], Callable[..., Any]],
    feeds: Sequence[Feed],
    results: Sequence[dict[str, Array]],
    seconds: float = SECONDS,
) -> list[dict[str, Array]]:
    """The outputs of a copy of `module` in float64, in the names, dtypes and order of the `results` in its own precision; an empty
    dict for each sample that there was no time for, or that it can't be run on: many a model says float32 itself.

    `forward` makes of a module what takes the inputs.
    """
    import torch

    spent = last = 0.0
    found: list[dict[str, Array]] = [{} for _ in feeds]
    usual = torch.get_default_dtype()
    try:
        double = forward(copy.deepcopy(module).double())
        torch.set_default_dtype(torch.float64)  # of the tensors that it makes as it runs
        for index, (feed, result) in enumerate(zip(feeds, results, strict=True)):
            twin = next((i for i in range(index) if found[i] and _equal(feeds[i], feed)), None)
            if twin is not None:
                found[index] = found[twin]
                continue
            if spent + last > seconds:
                continue
            begun = time.monotonic()
            arguments = [torch.from_numpy(array.copy()) for array in feed.values()]
            tensors = flatten(double(*(_wide(argument) for argument in arguments)))[1]
            found[index] = {
                name: tensor.cpu().numpy().astype(array.dtype)
                for (name, array), tensor in zip(result.items(), tensors, strict=True)
            }
            last = time.monotonic() - begun
            spent += last
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        print(f"the model can't be run in float64: {type(error).__name__}: {error}")
    finally:
        torch.set_default_dtype(usual)
    return found


def _equal(feed: Feed, other: Feed) -> bool:
    import numpy as np

    return all(np.array_equal(array, other[name]) for name, array in feed.items())


def _wide(tensor: Any) -> Any:
    return tensor.double() if tensor.is_floating_point() else tensor
