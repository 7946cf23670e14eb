"""Graphs that take another batch than the one that was asked for: found by running them, and set free."""

from __future__ import annotations

import shutil
import traceback
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.inputs import Dim, InputSpec
from enginesmith.converters.core.records import TensorInfo
from enginesmith.converters.core.samples import Feed
from enginesmith.converters.data.samples import Own, make_samples

if TYPE_CHECKING:
    from enginesmith.converters.graphs.rebatch import Run, Stacked

LIKELY = (1, 2, 4, 8, 16, 32)
"""Batches that graphs are written for."""


def unbaked(
    model: Path, scratch: Path, inputs: Sequence[TensorInfo], specs: Sequence[InputSpec], own: Own, task: str, run: Run
) -> tuple[Stacked, str] | None:
    """Set the batch free in the graph at `model`, in place, where it states another one for its `inputs` than the specs do, or
    states none and runs at another one alone. `run` runs it. Returns what runs the graph as it was on any batch, and what
    was done; None where nothing is to be done, or nothing can be though the graph states no batch: what it refuses is then
    told as of any input.

    Raises UserError where it states another batch, which can't be set free.
    """
    samples, made = make_samples(_first_alone(specs), task, 1, 0, own=own, way=own.ways(specs)[0])
    feeds = [feed for sample, feed in zip(samples.samples, made, strict=True) if not sample.probe]
    stated = _stated(inputs, specs)
    if not stated and _runs(run, feeds[0]):
        return None
    sizes = stated or _found(inputs, run, feeds[0])
    if not sizes:
        return None
    batch = next(iter(sizes.values()))[0]
    others: dict[int, Feed] = {}
    for feed in feeds:
        count = len(feed[next(iter(sizes))])
        if count != batch and all(feed[name].shape[1:] == tuple(shape[1:]) for name, shape in sizes.items()):
            others.setdefault(count, feed)
    if not others:
        return None
    from enginesmith.converters.graphs.rebatch import free

    kept = scratch / "baked"
    kept.mkdir()
    for file in model.parent.glob(f"{model.name}*"):
        shutil.move(file, kept / file.name)
    try:
        return free(kept / model.name, model, sizes, run, list(others.values()))
    except ConversionError as error:
        for file in kept.iterdir():
            shutil.move(file, model.parent / file.name)
        if stated:
            name, shape = next(iter(stated.items()))
            told = "x".join(map(str, shape))
            raise UserError(
                f"the shape given for {name} doesn't fit the model's {told}: {error}; {error.remedy}"
            ) from None
        return None


def _first_alone(specs: Sequence[InputSpec]) -> list[InputSpec]:
    """With no other range than those of first sizes."""
    return [
        spec.model_copy(
            update={
                "dims": tuple(
                    Dim(min=dim.min, opt=dim.opt, max=dim.max)
                    if axis == 0
                    else Dim(min=dim.opt, opt=dim.opt, max=dim.opt)
                    for axis, dim in enumerate(spec.dims)
                ),
                "shapes": (),
            }
        )
        for spec in specs
    ]


def _stated(inputs: Sequence[TensorInfo], specs: Sequence[InputSpec]) -> Mapping[str, Sequence[int]]:
    """The shapes of the inputs of which the graph states a first size and another was asked for."""
    return {
        info.name: (info.shape[0], *spec.opt[1:])
        for info, spec in zip(inputs, specs, strict=True)
        if info.shape and isinstance(info.shape[0], int) and spec.dims[0].bounds != (info.shape[0],) * 3
    }


def _found(inputs: Sequence[TensorInfo], run: Run, feed: Feed) -> Mapping[str, Sequence[int]]:
    """The shapes at which the graph runs, where the inputs with the first input's open first size have another one."""
    named = [info.name for info in inputs if info.shape and isinstance(info.shape[0], str)]
    if not named:
        return {}
    asked = len(feed[named[0]])
    together = [name for name in named if len(feed[name]) == asked]
    for batch in LIKELY:
        other = OrderedDict(feed)
        for name in together:
            other[name] = feed[name].take([place % asked for place in range(batch)], 0)
        if batch != asked and _runs(run, other):
            return {name: other[name].shape for name in together}
    return {}


def _runs(run: Run, feed: Feed) -> bool:
    try:
        run(feed)
    except Exception:  # noqa: BLE001 - ONNX Runtime's exceptions share no base but Exception
        traceback.print_exc()
        return False
    return True
