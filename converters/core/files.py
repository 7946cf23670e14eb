"""Files: their hashes, and whose they are."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from functools import cache
from pathlib import Path

from pydantic import BaseModel

PACKAGES = {"site-packages", "dist-packages"}


class FileRecord(BaseModel):
    sha256: str
    size: int


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Size and hash of every file below a folder, by relative name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): FileRecord(sha256=hash_file(p), size=p.stat().st_size) for p in paths}


def is_installed(path: Path) -> bool:
    """Whether a file belongs to Python or to an installed package, so that its version says all about its content.
    By the names of the folders that packages go to: an environment may see those of others, whatever it knows of them.
    """
    return _holds_installed(os.path.dirname(path))


@cache
def _holds_installed(folder: str) -> bool:
    """Asked once for each folder: a process has thousands of modules."""
    path = Path(folder)
    return not PACKAGES.isdisjoint(path.parts) or any(path.is_relative_to(library) for library in _standard_library())


@cache
def _standard_library() -> tuple[Path, ...]:
    """Asked once: it takes a millisecond."""
    return tuple({Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")})
