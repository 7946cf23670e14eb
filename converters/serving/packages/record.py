"""What a package says of itself: where its engine comes from, what was proved of it, and the hash of every file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.records import TensorInfo, Verified, Weights

RECORD = "package.json"
BOM = "bom.cdx.json"
Form = Literal["python", "triton", "cpp", "wheel", "oci"]


class Package(BaseModel):
    """`package.json`. `inputs` and `outputs` are the engine's own. `tools` are the versions that the build had; `unverified`
    says that it was packed though nothing proves it. `files` are all others of the package with their SHA-256.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    form: Form
    name: str
    created: str
    enginesmith: str
    backend: str
    target: str
    engine: str
    """Its file in the package."""
    engine_sha256: str
    size: int
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    model: str
    precision: str
    weights: Weights | None = None
    graph_sha256: str = ""
    """Of the graph that the engine was built from."""
    verified: Verified
    verified_reason: str
    unverified: bool = False
    task: str = ""
    pixels: str = "unknown"
    names: list[str] = []
    tools: dict[str, str] = {}
    licences: dict[str, str] = {}
    """Component to its licence."""
    files: dict[str, str] = {}

    @classmethod
    def read(cls, place: Path) -> Package:
        """That of a package's folder. Raises UserError."""
        path = place / RECORD
        if not path.is_file():
            raise UserError(f"{place} is no package: it has no {RECORD}")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path} is no package's record: {where}: {first['msg']}") from None

    def save(self, folder: Path) -> None:
        """Write it, with the hashes of all that lies there."""
        self.files = {name: hash_file(folder / name) for name in _files(folder)}
        (folder / RECORD).write_text(self.model_dump_json(indent=1) + "\n")

    def faults(self, folder: Path) -> list[str]:
        """What is not as it was packed; empty where all is."""
        there = dict.fromkeys(_files(folder))
        found = [f"{name} is missing" for name in self.files if name not in there]
        found += [f"{name} was added" for name in there if name not in self.files]
        found += [
            f"{name} was changed"
            for name in there
            if name in self.files and hash_file(folder / name) != self.files[name]
        ]
        if self.files.get(self.engine) != self.engine_sha256:
            found.append(f"{self.engine} is not the engine that the record is about")
        return found


def _files(folder: Path) -> Iterator[str]:
    """All but the record, and what Python leaves when it runs."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or (path.is_file() and "__pycache__" not in path.parts and path != folder / RECORD):
            yield path.relative_to(folder).as_posix()
