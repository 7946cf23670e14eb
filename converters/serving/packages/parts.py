"""What every form of a package is made of: the engine, the libraries that it runs with, a sample, licences, a bill of materials."""

from __future__ import annotations

import importlib.metadata
import json
import keyword
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.converters.serving.packages.record import BOM, Package
from enginesmith.converters.serving.packages.sample import Sampled

FILES = Path(__file__).parent / "files"
TVM = "tvm"
LIBRARIES = {"tvm_runtime": "apache-tvm", "tvm_runtime_extra": "apache-tvm", "tvm_ffi": "apache-tvm-ffi"}
"""Of TVM's runtime, without `lib` and `.so`, to the distributions that bring them."""


@dataclass(frozen=True)
class Parts:
    """`engine` is its file, `record` what is known of it, `sample` the folder of a call and `sampled` what that was. `image` is the
    container that it is for, where one was asked for."""

    engine: Path
    backend: str
    record: Package
    sample: Path
    sampled: Sampled
    image: str = ""

    @property
    def name(self) -> str:
        """Of a model in a repository, of a distribution, of a module: letters, digits and underscores."""
        name = re.sub(r"\W+", "_", self.record.name, flags=re.ASCII).strip("_").lower()
        return name if name[:1].isalpha() and not keyword.iskeyword(name) else f"model_{name}".rstrip("_")

    @property
    def threads(self) -> str:
        """How its threads are bounded."""
        return "TVM_NUM_THREADS" if self.backend == TVM else ""

    @property
    def requirements(self) -> list[str]:
        """What pip must install to run it from Python."""
        found = ["numpy"]
        if self.backend == ONNXRUNTIME:
            found.append(f"onnxruntime>={_minor(_version('onnxruntime'))}")
        return found

    def put_engine(self, folder: Path) -> None:
        """Into `engine/`, with all that lies beside it and belongs to it."""
        into = folder / "engine"
        into.mkdir(parents=True)
        if self.backend == TVM:
            for suffix in (".so", ".json"):
                shutil.copyfile(self.engine.with_suffix(suffix), into / f"module{suffix}")
        else:
            self.put_graph(into)

    def put_graph(self, into: Path) -> None:
        """As `model.onnx`, with its weights beside it."""
        shutil.copyfile(self.engine, into / "model.onnx")
        for name in self.sampled.beside:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.engine.parent / name, into / name)

    def put_runtime(self, folder: Path) -> None:
        """TVM's libraries into `runtime/`; ONNX Runtime is pip's. Raises UserError where a module needs more than libraries."""
        if self.backend != TVM:
            return
        about = json.loads(self.engine.with_suffix(".json").read_bytes())
        if about["python"]:
            raise UserError(
                f"{self.engine.name} calls {', '.join(about['python'])}, which TVM's Python package alone has: pack the graph for "
                "ONNX Runtime with --backend onnxruntime"
            )
        (folder / "runtime").mkdir()
        for name in ("tvm_ffi", *about["libraries"]):
            shutil.copyfile(installed(LIBRARIES[name], f"/lib{name}.so"), folder / "runtime" / f"lib{name}.so")

    def put_python(self, folder: Path) -> None:
        """Engine, libraries, `runner.py`, and the sample with what checks it."""
        self.put_engine(folder)
        self.put_runtime(folder)
        shutil.copyfile(FILES / ("tvm_runner.py" if self.backend == TVM else "onnx_runner.py"), folder / "runner.py")
        shutil.copyfile(FILES / "check.py", folder / "check.py")
        self.put_sample(folder, "*.npz")

    def put_sample(self, folder: Path, pattern: str) -> None:
        (folder / "sample").mkdir(exist_ok=True)
        for path in sorted(self.sample.glob(pattern)):
            shutil.copyfile(path, folder / "sample" / path.name)

    def put_provenance(self, folder: Path) -> None:
        """Licences of what comes along, the bill of materials, and last the record with all hashes."""
        for distribution in self._distributions():
            for path in _licences(distribution):
                into = folder / "licences" / distribution / path.name
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, into)
        self.record.licences = {
            "the model": "not stated: its author's",
            **dict.fromkeys(self._distributions(), "Apache-2.0"),
        }
        (folder / BOM).write_text(json.dumps(self._bom(), indent=1) + "\n")
        self.record.save(folder)

    def _distributions(self) -> list[str]:
        return sorted(set(LIBRARIES.values())) if self.backend == TVM else []

    def _bom(self) -> dict[str, Any]:
        """CycloneDX 1.6."""
        record = self.record
        engine = {
            "type": "file",
            "bom-ref": "engine",
            "name": record.engine,
            "hashes": [{"alg": "SHA-256", "content": record.engine_sha256}],
            "properties": list(
                _properties(
                    backend=record.backend,
                    target=record.target,
                    verified=record.verified,
                    reason=record.verified_reason,
                    unverified=str(record.unverified).lower(),
                )
            ),
        }
        graph = [{"alg": "SHA-256", "content": record.graph_sha256}] if record.graph_sha256 else []
        libraries = [
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{name}@{_version(name)}",
                "name": name,
                "version": _version(name),
                "purl": f"pkg:pypi/{name}@{_version(name)}",
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
            for name in self._distributions()
        ]
        needed = [
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{name}",
                "name": name,
                "purl": f"pkg:pypi/{name}",
                "scope": "required",
            }
            for name in (re.split(r"[><=]", each)[0] for each in self.requirements)
        ]
        return {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "timestamp": record.created,
                "tools": {
                    "components": [{"type": "application", "name": "enginesmith", "version": record.enginesmith}]
                },
                "component": {
                    "type": "machine-learning-model",
                    "bom-ref": "model",
                    "name": record.name,
                    "hashes": graph,
                    "properties": list(
                        _properties(
                            source=record.model,
                            precision=record.precision,
                            weights=record.weights.detail if record.weights else "",
                            weights_sha256=record.weights.sha256 if record.weights else "",
                            **{f"built with {tool}": version for tool, version in record.tools.items()},
                        )
                    ),
                },
            },
            "components": [engine, *libraries, *needed],
            "dependencies": [
                {"ref": "model", "dependsOn": ["engine"]},
                {"ref": "engine", "dependsOn": [each["bom-ref"] for each in (*libraries, *needed)]},
            ],
        }

    def readme(self, usage: str) -> str:
        """The page that each package has; `usage` says how it is run."""
        record = self.record
        doubt = (
            f"**Not verified** ({record.verified}: {record.verified_reason}). It was packed with `--unverified`.\n"
            if record.unverified
            else f"Verified: {record.verified_reason or 'its outputs were compared with the model'}.\n"
        )
        kinds = [("input", self.sampled.open), ("output", self.sampled.outputs)]
        rows = [
            f"| {kind} | `{each.name}` | {each.dtype} | {'x'.join(map(str, each.shape)) or 'scalar'} |"
            for kind, tensors in kinds
            for each in tensors
        ]
        pixels = f"Pictures are fed as: {record.pixels}.\n\n" if record.pixels != "unknown" else ""
        return (
            f"# {record.name}\n\n{record.model} in {record.precision} for {record.backend} {record.target}".rstrip()
            + f", by enginesmith {record.enginesmith}.\n{doubt}\n"
            + "| | name | dtype | shape |\n|---|---|---|---|\n"
            + "\n".join(rows)
            + f"\n\n{pixels}{usage}\n"
            + f"`{'package.json'}` has where it comes from and the hash of every file (`enginesmith verify` checks them), "
            + f"`{BOM}` the same as CycloneDX, `licences/` those of what comes along.\n"
        )


def installed(distribution: str, ending: str) -> Path:
    """A distribution's file whose path ends so. Raises UserError where it is not installed."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = next((Path(str(each.locate())) for each in files if each.as_posix().endswith(ending)), None)
    if found is None or not found.is_file():
        raise UserError(f"{distribution} is not installed, whose {ending} the engine runs with")
    return found


def _licences(distribution: str) -> Iterator[Path]:
    for each in importlib.metadata.files(distribution) or ():
        if each.name in ("LICENSE", "NOTICE") and ".dist-info" in each.parts[0]:
            yield Path(str(each.locate()))


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _properties(**values: str) -> Iterator[Mapping[str, str]]:
    for name, value in values.items():
        if value:
            yield {"name": f"enginesmith:{name}", "value": value}
