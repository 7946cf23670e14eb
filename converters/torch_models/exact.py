"""A PyTorch model in another precision, which tells what rounding made of its outputs: in float64, and a model that is in
float64 itself in float32, since engines compute in that.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.samples import Array, Feed
from enginesmith.converters.torch_models.outputs import flatten
from enginesmith.converters.torch_models.shaking import parts, shaken

if TYPE_CHECKING:
    import torch
    from torch import nn

SECONDS = 3.0
"""Of the processors' time, on all samples; the first one is run whatever it takes. Then come the probes: what is far from
ordinary is far from ordinary rounding too.
"""
SHAKING = 1.0
"""Of the processors' time, for probes whose rounding is seen by chance."""


def exact_results(
    module: nn.Module,
    forward: Callable[[nn.Module], Callable[..., Any]],
    feeds: Sequence[Feed],
    results: Sequence[dict[str, Array]],
    ordinary: int,
    seconds: float = SECONDS,
) -> list[dict[str, Array]]:
    """The outputs of a copy of `module` in float64 (float32, where its own tensors are float64), whatever types its code names, in
    the names, dtypes and order of the `results` in its own precision; an empty dict for each sample that there was no time for,
    or that it can't be run on.

    `forward` makes of a module what takes the inputs. The first `ordinary` samples are no probes.
    """
    order = (0, *range(ordinary, len(feeds)), *range(1, ordinary))
    return _again(module, forward, feeds, results, order, seconds)


def shaken_results(
    module: nn.Module,
    forward: Callable[[nn.Module], Callable[..., Any]],
    feeds: Sequence[Feed],
    results: Sequence[dict[str, Array]],
    ordinary: int,
    seconds: float = SHAKING,
) -> list[dict[str, Array]]:
    """The same of the probes alone, with each operator's floats moved by what their roundings in float32 may do, at random. What
    roundings do to a plane of one colour, on which PyTorch's own happen to be none, is seen so.
    """
    return _again(module, forward, feeds, results, range(ordinary, len(feeds)), seconds, shake=True)


def _again(
    module: nn.Module,
    forward: Callable[[nn.Module], Callable[..., Any]],
    feeds: Sequence[Feed],
    results: Sequence[dict[str, Array]],
    order: Iterable[int],
    seconds: float,
    shake: bool = False,
) -> list[dict[str, Array]]:
    import torch

    spent = last = 0.0
    found: list[dict[str, Array]] = [{} for _ in feeds]
    usual, threads = torch.get_default_dtype(), torch.get_num_threads()
    # a grouped convolution in float64 is a loop over its groups, with threads that wait for each other in each: with two it
    # takes six times what it takes with one
    torch.set_num_threads(1)
    try:
        held = [*module.parameters(), *module.buffers(), *map(torch.from_numpy, feeds[0].values())]
        double = any(tensor.dtype in (torch.float64, torch.complex128) for tensor in held)
        other = torch.float32 if double else torch.float64
        # Module.to would drop the imaginary parts
        again = forward(copy.deepcopy(module)._apply(lambda tensor: _in(other, tensor)))
        torch.set_default_dtype(other)  # of the tensors that it makes as it runs
        for index in order:
            feed, result = feeds[index], results[index]
            twin = next((i for i in range(len(feeds)) if found[i] and _equal(feeds[i], feed)), None)
            if twin is not None:
                found[index] = found[twin]
                continue
            if spent + last > seconds:
                continue
            begun = time.process_time()
            arguments = [torch.from_numpy(array.copy()) for array in feed.values()]
            with _everywhere(other, shake):
                made = again(*(_in(other, each) for each in arguments))
            tensors = flatten(made)[1]
            found[index] = {
                name: tensor.cpu().numpy().astype(array.dtype)
                for (name, array), tensor in zip(result.items(), tensors, strict=True)
            }
            last = time.process_time() - begun
            spent += last
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        print(f"the model can't be run in another precision: {type(error).__name__}: {error}")
    finally:
        torch.set_default_dtype(usual)
        torch.set_num_threads(threads)
    return found


def _in(dtype: torch.dtype, tensor: torch.Tensor) -> torch.Tensor:
    """Floats in `dtype`, complex numbers in pairs of it, anything else as it is."""
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _equal(feed: Feed, other: Feed) -> bool:
    import numpy as np

    return all(np.array_equal(array, other[name]) for name, array in feed.items())


@contextmanager
def _everywhere(dtype: torch.dtype, shake: bool) -> Iterator[None]:
    """Floating-point tensors are made in `dtype`, whatever type is asked for: many a model says float32 itself, or bfloat16 for a
    part of it, and rounds to that in float64 too. With `shake` what an operator makes is moved by what rounding may do to it."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    drawn = torch.Generator().manual_seed(0)
    inner = parts() if shake else {}

    class Everywhere(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            asked = kwargs.get("dtype")
            if isinstance(asked, torch.dtype) and (asked.is_floating_point or asked.is_complex):
                kwargs["dtype"] = dtype.to_complex() if asked.is_complex else dtype
            if shake:
                with self:
                    made = inner.get(func, func.decompose)(*args, **kwargs)
                if made is not NotImplemented:
                    return made
            made = func(*args, **kwargs)
            return shaken(made, func, args, drawn) if shake else made

    with Everywhere():  # type: ignore[no-untyped-call]
        yield
