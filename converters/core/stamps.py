"""Whether files were written to while they were read.

A file's content is its hash; that nobody changed it and changed it back meanwhile is its stamp. Programs can set a file's
size and time of modification back, but not the time of its last change (`st_ctime`), which the kernel keeps. So files are
read in place, whatever their number and size: by content before, by stamp after.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file

TICK = 20_000_000
"""Nanoseconds: file systems take the time from a clock that stands still for up to 10 ms."""


class Stamp(NamedTuple):
    """Another one after every write, and for another file in its place. Times in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def stamp(path: Path) -> Stamp | None:
    """None where there is no such file. Waits until the last write lies so far back that the next one has another time."""
    try:
        found = path.stat()
        if 0 <= time.time_ns() - found.st_ctime_ns < TICK:
            time.sleep(TICK / 1e9)
            found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@contextmanager
def hashed(files: Iterable[Path]) -> Iterator[dict[Path, str]]:
    """The SHA-256 of each file, which is that of all that is read of it within the context.

    Raises UserError for a file that is written to meanwhile.
    """
    stamps = {path: stamp(path) for path in files}
    yield {path: hash_file(path) for path in stamps}
    for path, before in stamps.items():
        if stamp(path) != before:
            raise UserError(f"{path} was written to while it was read; build again")


@contextmanager
def unchanged(files: Mapping[Path, str] | Mapping[str, str]) -> Iterator[None]:
    """What is read of these files, and of folders, within the context is what their `content_hash` says.

    Raises UserError for a file that has another content by now, or is written to meanwhile.
    """
    known = {Path(path): digest for path, digest in files.items()}
    for path in known:
        if not path.exists():
            raise UserError(f"{path} is gone since the build was planned; build again")
    inside = {path: _files(path) for path in known}
    with hashed(file for found in inside.values() for file in found) as hashes:
        for path, digest in known.items():
            if _content(path, {file: hashes[file] for file in inside[path]}) != digest:
                raise UserError(f"{path} has changed since the build was planned; build again")
        yield


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and the contents of the files in it and below."""
    return _content(path, {file: hash_file(file) for file in _files(path)})


def _files(path: Path) -> list[Path]:
    """Without those in hidden folders, such as a repository's own."""
    if not path.is_dir():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts))


def _content(path: Path, hashes: Mapping[Path, str]) -> str:
    if not path.is_dir():
        return hashes[path]
    names = {str(file.relative_to(path)): digest for file, digest in hashes.items()}
    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()
