"""Hashes of files, and whose they are."""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_installed(path: Path) -> bool:
    """Whether a file belongs to Python or to an installed package, so that its version says all about its content."""
    folders = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(path.is_relative_to(Path(folder).resolve()) for folder in folders)
