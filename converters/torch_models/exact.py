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

SECONDS = 5.0
"""Of the processors' time, on all samples; the first one is run whatever it takes. Then come the probes: what is far from
ordinary is far from ordinary rounding too.
"""


def exact_results(
    module: nn.Module,
    forward: Callable[[nn.Module], Callable[..., Any]],
    feeds: Sequence[Feed],
    results: Sequence[dict[str, Array]],
    ordinary: int,
    seconds: float = SECONDS,
) -> list[dict[str, Array]]:
    """The outputs of a copy of `module` in float64, in the names, dtypes and order of the `results` in its own precision; an empty
    dict for each sample that there was no time for, or that it can't be run on: many a model says float32 itself.

    `forward` makes of a module what takes the inputs. The first `ordinary` samples are no probes.
    """
    import torch

    spent = last = 0.0
    found: list[dict[str, Array]] = [{} for _ in feeds]
    usual = torch.get_default_dtype()
    try:
        double = forward(copy.deepcopy(module).double())
        torch.set_default_dtype(torch.float64)  # of the tensors that it makes as it runs
        for index in (0, *range(ordinary, len(feeds)), *range(1, ordinary)):
            feed, result = feeds[index], results[index]
            twin = next((i for i in range(len(feeds)) if found[i] and _equal(feeds[i], feed)), None)
            if twin is not None:
                found[index] = found[twin]
                continue
            if spent + last > seconds:
                continue
            begun = time.process_time()
            arguments = [torch.from_numpy(array.copy()) for array in feed.values()]
            tensors = flatten(double(*(_wide(argument) for argument in arguments)))[1]
            found[index] = {
                name: tensor.cpu().numpy().astype(array.dtype)
                for (name, array), tensor in zip(result.items(), tensors, strict=True)
            }
            last = time.process_time() - begun
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
