"""Hashes of files, and whose they are."""

from __future__ import annotations

import hashlib
import sysconfig
from functools import cache
from pathlib import Path

PACKAGES = {"site-packages", "dist-packages"}


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_installed(path: Path) -> bool:
    """Whether a file belongs to Python or to an installed package, so that its version says all about its content.
    By the names of the folders that packages go to: an environment may see those of others, whatever it knows of them.
    """
    return not PACKAGES.isdisjoint(path.parts) or any(path.is_relative_to(folder) for folder in _standard_library())


@cache
def _standard_library() -> tuple[Path, ...]:
    """Asked once: it takes a millisecond, and a process has thousands of modules."""
    return tuple({Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")})
