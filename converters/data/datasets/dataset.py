"""Data in the form that the model takes, each example checked before anything is computed from it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Feed, Pixels, SampleSet
from enginesmith.converters.core.user_code import called, function_from_file, function_from_module
from enginesmith.converters.data.datasets.base import OPTIONS, Example, Examples, Role, Source
from enginesmith.converters.data.datasets.batches import Batches, rows_of
from enginesmith.converters.data.datasets.location import locate

FEWEST = 8
"""Rows that calibration needs. Below it a range is an accident."""
FEW = 32
"""Rows below which a warning says so. NVIDIA's int8 calibration guides take hundreds."""


class Dataset(Examples):
    """Examples from a source, at most `limit` rows of them. Iterating starts anew and gives the same ones.

    The data is read once when it is opened, so that whatever is wrong with it shows before anything is computed; it is
    never kept.
    """

    def __init__(self, source: Source, specs: Sequence[InputSpec], pixels: Pixels, limit: int) -> None:
        """Raises UserError for data that doesn't fit the model."""
        self.name = source.name
        self.weak = source.weak
        self.made_up = source.made_up
        self.labelled = False
        self.rows = 0
        self.warnings: list[str] = []
        self._source = source
        self.specs = specs
        self._pixels = pixels
        self._limit = limit
        self._sums: list[int] = []
        self._read()

    def __len__(self) -> int:
        return len(self._sums)

    def __iter__(self) -> Iterator[Example]:
        """Raises UserError where the source gives something else than it did before."""
        number = 0
        for number, example in enumerate(self._examples(Batches(self.specs, self._pixels)), 1):
            if number > len(self._sums) or checksum(example.feed) != self._sums[number - 1]:
                raise UserError(
                    f"{self.name}: example {number} is another one than the first time; "
                    "don't shuffle, and seed what is random"
                )
            yield example
        if number < len(self._sums):
            raise UserError(
                f"{self.name}: gave {len(self._sums)} examples the first time, and {number} then; "
                "each call must start anew, so build the iterator within the function"
            )

    def _examples(self, batches: Batches) -> Iterator[Example]:
        rows = 0
        for item in self._source:
            for example in batches.add(item):
                yield example
                rows += rows_of(example.feed)
                if rows >= self._limit:
                    return

    def _read(self) -> None:
        batches = Batches(self.specs, self._pixels)
        bare = 0
        for example in self._examples(batches):
            self._sums.append(checksum(example.feed))
            self.rows += rows_of(example.feed)
            bare += example.target is None
        if not self._sums and batches.left:
            raise UserError(
                f"{self.name}: {len(batches.left)} rows don't fill a batch, and the graph takes {batches.size} at once; "
                "give more, or a SHAPE with a smaller batch"
            )
        if not self._sums:
            raise UserError(f"{self.name}: {self._source.empty}")
        if 0 < bare < len(self._sums):
            raise UserError(
                f"{self.name}: {bare} of {len(self._sums)} examples have no target; give all of them one, or none"
            )
        self.labelled = not bare
        self.warnings += self._source.warnings
        if len(batches.left) and self.rows < self._limit:
            self.warnings.append(f"{self.name}: the last {len(batches.left)} rows don't fill a batch and are left out")
        if warning := batches.range.judge(self._pixels, self.name):
            self.warnings.append(warning)


def checksum(feed: Feed) -> int:
    """Of all bytes of a feed."""
    found = 0
    for array in feed.values():
        found = zlib.crc32(array.tobytes(), found)
    return found


def open_dataset(
    spec: str, samples: SampleSet, *, role: Role, limit: int, seed: int, pattern: Feed | None = None
) -> Dataset:
    """The data that the user's `spec` names, for the model that `samples` describe; "" takes the shipped pictures, and for other
    inputs makes some up like `pattern`, an input of the user's.

    `limit`: most rows to read, rounded up to whole batches; of a folder or an .npz they are drawn with `seed` from all
    that there is, others for calibration than for evaluation.
    Raises UserError: nothing there, unreadable, of another shape, type or range than the model takes, NaN, too little.
    """
    size = Batches(samples.specs, samples.pixels).size
    limit = -(-limit // size) * size  # whole batches
    source = open_source(spec, samples, role, limit, seed, pattern)
    dataset = Dataset(source, samples.specs, samples.pixels, limit)
    fewest = FEWEST if role == "calibration" else 1
    if dataset.rows < min(fewest, limit):
        raise UserError(
            f"{dataset.name}: {dataset.rows} examples are too few to calibrate on; give {FEWEST} at least, better 100"
        )
    if dataset.made_up:
        option = OPTIONS[role]
        what = "ranges measured on it say" if role == "calibration" else "agreement on it says"
        dataset.warnings.append(f"{dataset.name}, which is made up: {what} little of real data; give {option}")
    if dataset.rows < min(FEW, limit) and not dataset.weak:
        what = (
            "ranges measured on so few fit others badly"
            if role == "calibration"
            else "one of them moves the metric a lot"
        )
        dataset.warnings.append(f"{dataset.name}: {dataset.rows} examples are few: {what}")
    return dataset


def open_source(
    spec: str, samples: SampleSet, role: Role, limit: int, seed: int, pattern: Feed | None = None
) -> Source:
    """Of at most `limit` items, before anything of it is held against the model. Raises UserError."""
    from enginesmith.converters.data.datasets import array_files, folder, loader, recorded, shipped

    place = locate(spec, OPTIONS[role])
    if place.kind == "shipped":
        return shipped.Shipped(samples, role, limit, seed, pattern)
    if place.kind == "folder":
        return folder.open_folder(place.path, samples, role, limit, seed)
    if place.kind == "arrays":
        return array_files.ArrayFile(place.path, samples.specs, samples.task, role, limit, seed)
    if place.kind == "recorded":
        return recorded.Recorded(place.path, samples.specs)
    if place.kind == "module":
        name = place.function.rpartition(".")[2]
        return loader.Loader(name, function_from_module(place.function), samples.specs, seed)
    name, function = called(place.path, place.function), function_from_file(place.path, place.function)
    return loader.Loader(name, function, samples.specs, seed)
