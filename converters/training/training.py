"""Runs the user's training function on a model, and looks at what comes out."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.user_code import guarded

if TYPE_CHECKING:
    from torch import nn

SLOWER = "train with a smaller learning rate"
TOLD = 0.3
"""Seconds between two progress events."""


def train(
    function: Callable[[nn.Module], Any], name: str, model: nn.Module, progress: Callable[[str], None]
) -> tuple[int, list[float]]:
    """Call `function(model)`: it owns the data, the loss and the optimizer, and changes the model in place. It may
    return nothing, or yield after each step, nothing or the loss.

    Returns the number of steps and the losses that it told of. Raises UserError where the function raises or returns
    something else, ConversionError for a loss or a weight that is no finite number.
    """
    import torch

    losses: list[float] = []
    steps, told = 0, 0.0
    with torch.enable_grad():
        result = guarded(lambda: function(model), f"the function {name} failed")
        if inspect.isgenerator(result):
            end = object()
            while (given := guarded(lambda: next(result, end), f"the function {name} failed")) is not end:
                steps += 1
                if given is not None:
                    losses.append(_loss(given, name, steps))
                if time.monotonic() - told > TOLD:
                    told = time.monotonic()
                    progress(f"training, step {steps}" + (f", loss {losses[-1]:.3g}" if losses else ""))
        elif isinstance(result, torch.nn.Module) and result is not model:
            raise UserError(f"the function {name} returned another module; it must train the one that it is given")
    for key, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ConversionError(f"fine-tuning by {name} diverged: {key} holds NaN or infinity", SLOWER)
    return steps, losses


def _loss(given: Any, name: str, step: int) -> float:
    try:
        loss = float(given.detach() if hasattr(given, "detach") else given)
    except (TypeError, ValueError, RuntimeError):  # a RuntimeError: a tensor of several elements
        raise UserError(
            f"the function {name} yielded {type(given).__name__} at step {step}; yield the loss as a number, or nothing"
        ) from None
    if not math.isfinite(loss):
        raise ConversionError(f"fine-tuning by {name} diverged: the loss of step {step} is {loss}", SLOWER)
    return loss
