"""What work on a file may take where nobody said: a stranger's file must not take the machine."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

GB = 2**30
MEMORY, MEMORY_PER_BYTE = 3 * GB, 12
"""Bytes, and bytes on top for each byte of the file with its weights: tools keep several copies."""
NAMED, NEIGHBOURS = 2**26, 1000
"""Bytes of a graph in which names are looked for, and files beside it that are looked for."""
SECONDS, SECONDS_PER_MB = 50.0, 4.0


@dataclass(frozen=True)
class Limits:
    """`seconds` of wall time; `memory` in bytes that a process and its children may have written to."""

    seconds: float
    memory: int


def limits_for(size: int, seconds: float | None = None, memory: float | None = None) -> Limits:
    """For a file of `size` bytes: what the user said (`memory` in GB, 0 is nothing said), else an amount that a laptop
    survives.
    """
    return Limits(
        seconds=SECONDS + SECONDS_PER_MB * size / 1e6 if seconds is None else seconds,
        memory=int(memory * GB) if memory else MEMORY + MEMORY_PER_BYTE * size,
    )


def too_much_memory(memory: int) -> str:
    """What is said of work that was stopped for its memory."""
    return f"stopped: it used more than {memory / GB:.3g} GB of memory; give it more with --memory GB"


def size_of(path: Path) -> int:
    """Bytes on the disk of a graph and of the files beside it that it names; holes in files don't count."""
    own = path.stat()
    if not 0 < own.st_size <= NAMED:
        return own.st_size
    size = min(own.st_size, 512 * own.st_blocks)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for number, other in enumerate(path.parent.iterdir()):
            if number == NEIGHBOURS:
                break
            if other != path and other.is_file() and content.find(bytes(other.name, "utf-8", "replace")) >= 0:
                found = other.stat()
                size += min(found.st_size, 512 * found.st_blocks)
    return size
