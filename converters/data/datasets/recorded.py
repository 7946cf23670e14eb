"""Examples of an iterable of the user's process, as a file: a zip of arrays, and how each example is made of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.data.datasets.base import Item, Source
from enginesmith.converters.data.datasets.loader import FORMS, split

STRUCTURE = "examples.json"


class Recorded(Source):
    """Read back, one example in memory at a time."""

    empty = f"gave nothing; {FORMS}"

    def __init__(self, path: Path, specs: Sequence[InputSpec]) -> None:
        self.path = path
        self.name = path.stem
        self.specs = specs

    def __iter__(self) -> Iterator[Item]:
        with zipfile.ZipFile(self.path) as archive:
            for number, told in enumerate(json.loads(archive.read(STRUCTURE))):
                where = f"{self.name}, example {number}"
                values, target = split(_decoded(told, archive), [spec.name for spec in self.specs], where)
                yield Item(where, values, target)


def record(examples: Any, path: Path, most: int) -> None:
    """Write the first `most` rows of an iterable, or of what can be indexed; one that says its `batch_size`, as a DataLoader
    does, gives so many at once. The same examples make the same file. Raises UserError for what holds no numbers.
    """
    rows = getattr(examples, "batch_size", None) or 1
    if not hasattr(examples, "__iter__"):
        examples = map(examples.__getitem__, range(len(examples)))
    with zipfile.ZipFile(path, "w") as archive:
        writer = _Writer(archive)
        told = []
        for number, example in enumerate(examples):
            if number * rows >= most:
                break
            told.append(writer.encoded(example, f"{path.stem}, example {number}"))
        archive.writestr(zipfile.ZipInfo(STRUCTURE), json.dumps(told))


class _Writer:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.arrays = 0

    def encoded(self, value: Any, where: str) -> dict[str, Any]:
        if value is None or isinstance(value, bool | int | float | str):
            return {"value": value}
        if isinstance(value, Mapping):
            return {"mapping": [[str(key), self.encoded(part, where)] for key, part in value.items()]}
        if isinstance(value, list | tuple):
            return {"sequence": [self.encoded(part, where) for part in value]}
        return {"array": self._written(value, where)}

    def _written(self, value: Any, where: str) -> str:
        import numpy as np

        try:
            if hasattr(value, "detach"):
                value = value.detach().cpu()
                value = value.float() if str(value.dtype) == "torch.bfloat16" else value
            array = np.asarray(value)
        except Exception as error:  # noqa: BLE001 - any type's own conversion
            raise UserError(f"{where} can't be read as an array: {first_line(error)}") from None
        if array.dtype.hasobject:
            raise UserError(f"{where} holds a {type(value).__name__}, which is no array of numbers; {FORMS}")
        name = f"{self.arrays}.npy"
        self.arrays += 1
        with self.archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, array, allow_pickle=False)
        return name


def _decoded(told: Mapping[str, Any], archive: zipfile.ZipFile) -> Any:
    import numpy as np

    if "array" in told:
        with archive.open(told["array"]) as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    if "mapping" in told:
        return {key: _decoded(part, archive) for key, part in told["mapping"]}
    if "sequence" in told:
        return [_decoded(part, archive) for part in told["sequence"]]
    return told["value"]
