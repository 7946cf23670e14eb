"""The record of what one run of a stage left in the store, and its form as a file."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

from pydantic import ValidationError, field_validator

from enginesmith.converters.core.files import FileRecord
from enginesmith.converters.core.hashing import hash_tree
from enginesmith.pipeline.job.told import Told

ENTRY = "entry.json"
SEAL = re.compile(rb'\{\n "seal": "([0-9a-f]{64})",')
"""How a record begins: with the hash of what comes after."""


class Entry(Told):
    """What one run of a stage left."""

    key: str
    id: str
    """The stage's id in the plan that built it."""
    files: dict[str, FileRecord]
    seconds: float
    peak_memory_mb: float
    tools: dict[str, str]
    log: str = ""

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, FileRecord]) -> dict[str, FileRecord]:
        """A record from a shared store must not write elsewhere."""
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{name!r} is outside the entry")
        return files

    @property
    def digest(self) -> str:
        """Digest of the content, which the keys of later stages are made from."""
        return hash_tree({name: record.sha256 for name, record in self.files.items()})

    @property
    def size(self) -> int:
        return sum(record.size for record in self.files.values())


def sealed(entry: Entry) -> bytes:
    """The entry's record, with its own hash in it: a bit that flips there would change what a stage has told."""
    text = entry.model_dump_json(indent=1).encode()
    return text.replace(b"{", b'{\n "seal": "%s",' % hashlib.sha256(text).hexdigest().encode(), 1)


def unsealed(record: bytes) -> Entry | None:
    """The inverse; None for what is damaged."""
    found = SEAL.match(record)
    text = b"{" + record[found.end() :] if found else b""
    if found is None or hashlib.sha256(text).hexdigest().encode() != found[1]:
        return None
    try:
        return Entry.model_validate_json(text)
    except ValidationError:  # of another version
        return None
