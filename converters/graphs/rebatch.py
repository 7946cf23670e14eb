"""A graph whose batch is fixed, set free, and proved: n items at once against runs of the graph as it was given."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.samples import Array, Feed, Sample
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.comparison import reason
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.tolerances import TOLERANCES

Run = Callable[[Feed], dict[str, Array]]
REMEDY = "give that batch, or export the model anew with a dynamic one"


@dataclass
class Stacked:
    """Runs a graph of a fixed batch on more or fewer items: the `inputs` in portions of `batch`, the last one filled up with its
    last item. `axes`: along which axis the items of an output lie; none of an output that has no batch.
    """

    run: Run
    inputs: Sequence[str]
    batch: int
    axes: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, feed: Feed) -> dict[str, Array]:
        count = len(feed[self.inputs[0]])
        parts = [self.run(self._portion(feed, start)) for start in range(0, max(count, 1), self.batch)]
        return {
            name: np.concatenate([part[name] for part in parts], self.axes[name]).take(
                range(parts[0][name].shape[self.axes[name]] * count // self.batch), self.axes[name]
            )
            if name in self.axes
            else first
            for name, first in parts[0].items()
        }

    def _portion(self, feed: Feed, start: int) -> Feed:
        portion = OrderedDict(feed)
        for name in self.inputs:
            items = feed[name][start : start + self.batch]
            portion[name] = np.concatenate([items, *[items[-1:]] * (self.batch - len(items))])
        return portion


def free(
    given: Path, out: Path, sizes: Mapping[str, Sequence[int]], run: Run, feeds: Sequence[Feed]
) -> tuple[Stacked, str]:
    """Write the graph at `given` with any batch in the inputs of `sizes`, which are those that it takes, as `out`. `run` runs the
    graph as it is; on the `feeds`, of other batches, both compute the same, item by item. Returns what runs the graph as
    it is on any batch, and what was done.

    Raises ConversionError where no rewriting stands that test.
    """
    import onnx_ir as ir

    from enginesmith.compat.batch import free_batch
    from enginesmith.compat.saving import save

    batch = next(iter(sizes.values()))[0]
    refusals: list[str] = []
    for folded, merged in product((False, True), repeat=2):
        model = ir.load(given)
        try:
            made = free_batch(model, sizes, folded=folded, merged=merged)
            save(model, out)
            stacked = Stacked(run, list(sizes), batch)
            _prove(out, stacked, feeds)
        except Exception as error:  # noqa: BLE001 - a rewriting that went wrong may fail in any way, and ONNX Runtime too
            traceback.print_exc()
            refusals.append(f"{' '.join(str(error).split())[:200]}")
            continue
        where = "; ".join(f"{each.op} {each.node}: {each.change}" for each in made[:4]) + (
            "; …" if len(made) > 4 else ""
        )
        told = f"the graph's batch of {batch} was set free" + (f" ({where})" if made else "")
        counts = " and ".join(str(len(feed[stacked.inputs[0]])) for feed in feeds)
        return stacked, f"{told}: {counts} items at once are the same as {'one' if batch == 1 else batch} at a time"
    raise ConversionError(f"the graph takes a batch of {batch} alone, and can't be set free: {refusals[-1]}", REMEDY)


def _prove(model: Path, stacked: Stacked, feeds: Sequence[Feed]) -> None:
    """Raises ConversionError where the graph at `model` differs from the stacked one. Finds the axes of the outputs first."""
    from polygraphy.comparator import IterationResult

    session = onnxruntime.session(model, optimize=False)
    names = [output.name for output in session.get_outputs()]
    single = stacked.run(stacked._portion(feeds[0], 0))
    for feed in feeds:
        found = dict(zip(names, session.run(None, dict(feed)), strict=True))
        stacked.axes = stacked.axes or _axes(single, found)
        if not stacked.axes:
            raise ConversionError("no output has more items when the inputs have")
        compared = compare_outputs(
            "tensor",
            Sample(name=f"{len(feed[stacked.inputs[0]])} items"),
            feed,
            IterationResult(outputs=stacked(feed), runtime=0.0, runner_name="given"),
            IterationResult(outputs=found, runtime=0.0, runner_name="freed"),
            TOLERANCES["fp32"],
        )
        if not compared.passed:
            raise ConversionError(f"several items at once are not the same as one at a time: {reason([compared])}")


def _axes(single: Mapping[str, Array], found: Mapping[str, Array]) -> dict[str, int]:
    """The axes in which outputs grow with the batch."""
    return {
        name: next(axis for axis, (a, b) in enumerate(zip(array.shape, found[name].shape, strict=True)) if a != b)
        for name, array in single.items()
        if array.shape != found[name].shape
    }
