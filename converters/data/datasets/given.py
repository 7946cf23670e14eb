"""The user's own samples: a data.npz with one or many, a folder of arrays or pictures, or a function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.recipe import MOST_SAMPLES
from enginesmith.converters.core.samples import Feed, SampleSet
from enginesmith.converters.data.datasets import npz
from enginesmith.converters.data.datasets.array_files import assign
from enginesmith.converters.data.datasets.base import OPTIONS, Item
from enginesmith.converters.data.datasets.batches import Batches
from enginesmith.converters.data.datasets.dataset import open_source
from enginesmith.converters.data.datasets.location import locate


def read_samples(spec: str, samples: SampleSet) -> list[tuple[str, Feed]]:
    """What is at the place that `spec` names, at most `MOST_SAMPLES`, each with what it is called, for the inputs that `samples`
    describe. In an .npz the first axis counts samples, unless each array is one input as it is.

    Raises UserError for what can't be read, and what doesn't fit the model.
    """
    place = locate(spec, OPTIONS["samples"])
    items: Iterable[Item]
    if place.kind == "arrays" and _whole(place.path, samples.specs, samples.task):
        parts = assign(place.path, list(npz.headers(place.path)), samples.specs, samples.task)
        items = [parts.item(place.path.name, lambda name: npz.whole(place.path, name))]
    else:
        items = open_source(spec, samples, "samples", MOST_SAMPLES, 0)
    batches = Batches(samples.specs, samples.pixels)
    found = [(Path(item.where).name, example.feed) for item in items for example in batches.add(item)][:MOST_SAMPLES]
    if not found:
        what = (
            f"{len(batches.left)} rows don't fill a batch of {batches.size}" if batches.left else "it holds no sample"
        )
        raise UserError(f"{OPTIONS['samples']}={spec}: {what}")
    return found


def _whole(path: Path, specs: Sequence[InputSpec], task: str) -> bool:
    found = npz.headers(path)
    parts = assign(path, list(found), specs, task)
    shapes = {spec.name: found[parts.inputs[spec.name]].shape for spec in specs}
    return all(
        len(shapes[spec.name]) == len(spec.dims)
        and all(dim.min <= size <= dim.max for dim, size in zip(spec.dims, shapes[spec.name], strict=True))
        for spec in specs
    )
