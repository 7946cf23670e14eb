"""What was measured, as JSON lines: a header that says what for, then a record per measurement.

Records are appended under a lock, so several searches may share a file. A line that was cut short by a kill is no record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from enginesmith.converters.core.errors import UserError

FORMAT = 1


class Header(BaseModel):
    """Measurements are good for this alone. `kernels` is the version of the code that makes the kernels."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    tvm: str
    kernels: str
    target: str

    @property
    def short(self) -> str:
        """For the name of a file."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class Record(BaseModel):
    """One schedule of one workload, timed in turn with the default schedule. `failed` says why it has no time."""

    workload: str
    """Key of the workload."""
    label: str
    threads: int
    schedule: dict[str, Any]
    milliseconds: float | None = None
    default_milliseconds: float | None = None
    failed: str = ""

    @property
    def ratio(self) -> float | None:
        """Of its time to the default's."""
        if self.milliseconds is None or not self.default_milliseconds:
            return None
        return self.milliseconds / self.default_milliseconds


class Choice(BaseModel):
    """Kernels for one convolution, timed in turn with the best schedule of each."""

    geometry: str
    label: str
    threads: int
    milliseconds: dict[int, float]
    """By the size of Winograd's tile, 0 for the direct convolution."""


class Database:
    """A file of measurements, which appears with the first of them.

    Raises UserError for one that was made for something else, or that is none at all: it stays as it is.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header = path, header
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        list(self.read())

    def read(self) -> Iterator[Record | Choice]:
        """All that is there, oldest first."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"can't read the tuning database {self.path}: {error.strerror}") from None
        if not any(lines):
            return
        self._check(lines[0])
        for line in lines[1:]:
            try:
                values = json.loads(line)
                yield (Choice if "geometry" in values else Record).model_validate(values)
            except (ValueError, ValidationError, TypeError):
                continue

    def add(self, record: Record | Choice) -> None:
        """Raises UserError where the file can't be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, self.path.open("a+b") as file:
                if file.tell() == 0:
                    file.write(self.header.model_dump_json().encode() + b"\n")
                else:
                    file.seek(-1, 2)
                    if file.read(1) != b"\n":
                        file.write(b"\n")
                file.write(record.model_dump_json(exclude_defaults=True).encode() + b"\n")
        except OSError as error:
            raise UserError(f"can't write the tuning database {self.path}: {error.strerror}") from None

    def _check(self, line: bytes) -> None:
        try:
            found = Header.model_validate_json(line)
        except ValidationError:
            raise UserError(f"{self.path} is no tuning database; give another file, or move it away") from None
        names = {"format": "format", "target": "target", "tvm": "TVM", "kernels": "version of the kernels"}
        for name, word in names.items():
            theirs, ours = getattr(found, name), getattr(self.header, name)
            if theirs != ours:
                raise UserError(
                    f"the tuning database {self.path} is for {word} {theirs}, and this is {word} {ours}: "
                    "give another file, or move it away"
                )
