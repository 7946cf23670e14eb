"""Arrays of an .npz or .npy row by row: an .npz can't be mapped into memory, but unpacked as it is read.

The format is NumPy's: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.samples import Array

if TYPE_CHECKING:
    import numpy as np

SINGLE = "array"
"""What the array of an .npy is called."""


class Header(NamedTuple):
    """What precedes an array's bytes."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]


def headers(path: Path) -> dict[str, Header]:
    """The arrays of a file by name, unread. Raises UserError for a damaged file, and for one with Python objects."""
    with _readable(path):
        if path.suffix == ".npy":
            with path.open("rb") as file:
                found = {SINGLE: _header(file)}
        else:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                found = {}
                for name in names:
                    with archive.open(name) as member:
                        found[name.removesuffix(".npy")] = _header(member)
    for name, header in found.items():
        if header.dtype.hasobject:
            raise UserError(f"{path}: {name} holds Python objects; save plain arrays of numbers")
    if not found:
        raise UserError(f"{path} has no arrays in it")
    return found


def rows(path: Path, name: str) -> Iterator[Array]:
    """The rows of an array along its first axis, one in memory at a time. Raises UserError for a damaged file."""
    import numpy as np

    with _readable(path):
        if path.suffix == ".npy":
            yield from map(np.array, np.load(path, mmap_mode="r"))
            return
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            header = _header(member)
            if header.fortran and len(header.shape) > 1:  # its rows lie apart; there are few such arrays
                yield from whole(path, name)
                return
            size = math.prod(header.shape[1:])
            for _ in range(header.shape[0]):
                content = member.read(size * header.dtype.itemsize)
                yield np.frombuffer(content, header.dtype, size).reshape(header.shape[1:])


def whole(path: Path, name: str) -> Array:
    """Raises UserError for a damaged file."""
    import numpy as np

    with _readable(path):
        loaded = np.load(path)
        if path.suffix == ".npy":
            return np.asarray(loaded)
        with loaded:
            return np.asarray(loaded[name])


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """As numpy's `savez` does, whose own arguments are names that no array may have."""
    from numpy.lib import format as npy

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


def _header(file: IO[bytes]) -> Header:
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return Header(*read(file))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - zipfile, zlib and NumPy's parser of headers raise a dozen types
        raise UserError(f"{path} can't be read: {first_line(error)}; copy it anew or save it again") from None
