"""The engine that a path means: a build's folder, an engine's file in it, a lone engine, or a graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from enginesmith.converters.backends import BACKENDS, get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.samples import SAMPLES
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.pipeline.job.manifest import MANIFEST, EngineRecord, Manifest
from enginesmith.pipeline.job.store import Store
from enginesmith.pipeline.job.trusted import blocked


@dataclass(frozen=True)
class EngineFile:
    """`backend` is `onnxruntime` for a graph; `target` is empty where nothing says it. `graph` is the build's final graph, or
    the file itself; `manifest` and `record` are None for what doesn't lie in a build's folder.
    """

    file: Path
    backend: str
    target: str = ""
    graph: Path | None = None
    manifest: Manifest | None = None
    record: EngineRecord | None = None

    @property
    def name(self) -> str:
        return f"{self.backend} {self.target}".strip()

    def blocked(self, trust: bool) -> str:
        """Why it can't run here; empty where it can."""
        return "" if self.backend == ONNXRUNTIME else blocked(self.backend, self.target, self.file, trust)

    def samples(self, store: Store) -> Path | None:
        """The folder of its build's samples, where the store still has them."""
        folder = self.graph.parent if self.graph else self.file.parent
        if (folder / SAMPLES).is_file():
            return folder
        stages = self.manifest.stages if self.manifest else []
        origin = next((stage for stage in stages if stage.stage in ("export", "import")), None)
        return store.files(origin.key) if origin and origin.key and store.lookup(origin.key) else None


def engine_files(place: Path, backend: str = "") -> list[EngineFile]:
    """All engines that a path may mean, the build's own order; at least one. `backend` leaves the others out; `onnxruntime` of
    a build's folder is its final graph.

    Raises UserError.
    """
    if backend and backend != ONNXRUNTIME and backend not in BACKENDS:
        raise unknown("backend", backend, [*BACKENDS, ONNXRUNTIME])
    if not place.exists():
        raise UserError(f"no file or folder {place}")
    if place.suffix == ".onnx" and place.is_file():
        if backend not in ("", ONNXRUNTIME):
            raise UserError(f"{place} is a graph, no engine of {backend}: build it first")
        return [EngineFile(place, ONNXRUNTIME, graph=place)]
    folder = place.parent.parent if place.is_file() and place.name != MANIFEST else place
    if place.is_file() and place.name != MANIFEST and not (folder / MANIFEST).is_file():
        return [_lone(place, backend)]
    manifest = Manifest.read(place.parent if place.name == MANIFEST else folder)
    folder = place.parent if place.name == MANIFEST else folder
    graph = folder / MODEL if (folder / MODEL).is_file() else None
    found = [
        EngineFile(folder / each.path, each.backend, each.target, graph, manifest, each) for each in manifest.engines
    ]
    if place.is_file() and place.name != MANIFEST:
        found = [each for each in found if each.file.resolve() == place.resolve()] or [_lone(place, backend)]
    elif backend == ONNXRUNTIME and graph is not None:
        found = [EngineFile(graph, ONNXRUNTIME, "", graph, manifest)]
    chosen = [each for each in found if backend in ("", each.backend)]
    if not chosen:
        has = ", ".join(each.name for each in found) or "none"
        raise UserError(f"{place} has no engine{f' of {backend}' if backend else ''}; its engines: {has}")
    return chosen


def one_engine(place: Path, backend: str = "", *, trust: bool = False) -> EngineFile:
    """The first of them that runs here. Raises UserError with the reason of each where none does."""
    found = engine_files(place, backend)
    reasons = []
    for each in found:
        if not (reason := each.blocked(trust)):
            return each
        reasons.append(f"{each.name or each.file}: {reason}")
    raise UserError(f"{place} can't run here: {'; '.join(reasons)}")


def _lone(place: Path, backend: str) -> EngineFile:
    """An engine whose build is not here."""
    by_name = [name for name in BACKENDS if Path(get_backend(name).engine_file).suffix == place.suffix]
    if backend:
        return EngineFile(place, backend)
    if len(by_name) != 1:
        what = f"say whose engine it is with --backend: {', '.join(by_name)}" if by_name else "it is no engine's file"
        raise UserError(f"{place} doesn't lie in a build's folder; {what}")
    return EngineFile(place, by_name[0])
