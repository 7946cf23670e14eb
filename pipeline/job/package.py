"""An engine packed for where it runs, and a package held against its own record."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import get_args

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.records import Verified
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.converters.serving.feeds import FeedOptions
from enginesmith.converters.serving.packages.parts import Parts
from enginesmith.converters.serving.packages.record import Form, Package
from enginesmith.converters.serving.packages.sample import SAMPLE, Sampled
from enginesmith.pipeline import __version__
from enginesmith.pipeline.job.engine_file import EngineFile, engine_files
from enginesmith.pipeline.job.platform import shipped
from enginesmith.pipeline.job.results import verified
from enginesmith.pipeline.job.serve import call
from enginesmith.pipeline.job.shapes import parse_shapes
from enginesmith.pipeline.job.store import Store

TRITON = "triton"


def package(
    place: Path,
    for_: str,
    out: Path,
    *,
    backend: str = "",
    shape: str | None = None,
    unverified: bool = False,
    timeout: float = 600.0,
    trust: bool = False,
    store: str | None = None,
) -> Package:
    """Pack an engine into the new folder `out`. `for_` is one of the forms; of Triton with its release, where one is meant:
    `triton=26.07`. Of several engines it is the first that the form can hold and that runs here, since a sample's outputs
    go along.

    Raises UserError for what can't be packed so, ConversionError where the engine breaks down.
    """
    form, _, release = for_.partition("=")
    if form not in get_args(Form):
        raise unknown("form of a package", form, get_args(Form))
    if release and form != TRITON:
        raise UserError(f"--for {form} has no releases; leave ={release} out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists: give another --out, or remove it first")
    there = shipped(TRITON, release) if release else None
    module = import_module(f"enginesmith.converters.serving.packages.{form}")
    engine = _chosen(engine_files(place, backend), place, form, module.ENGINE, trust)
    verdict, reason = _verdict(engine)
    if verdict != "yes" and not unverified:
        raise UserError(
            f"{engine.name} is not verified ({verdict}: {reason}); --unverified packs it all the same, and says so in the package"
        )
    if there is not None and engine.backend != ONNXRUNTIME:
        refused = get_backend(engine.backend).unloadable(engine.target, there.name, there.release)
        if refused:
            raise UserError(refused)
    with tempfile.TemporaryDirectory(prefix="enginesmith-package-") as scratch:
        model = engine.manifest.model if engine.manifest else None
        options = FeedOptions(
            backend=engine.backend,
            samples=engine.samples(Store(store)),
            pixels=model.pixels if model else None,
            task=model.task if model else "tensor",
            shape=parse_shapes(shape) if shape else (),
        )
        sample = Path(scratch) / "sample"
        told = options.model_dump(mode="json")
        sampled = Sampled.model_validate(call(engine, SAMPLE, told, str(sample), timeout=timeout))
        record = _record(engine, form, sampled, verdict, reason)
        parts = Parts(engine.file, engine.backend, record, sample, sampled, there.name if there else "")
        record.engine = module.ENGINE[engine.backend].format(name=parts.name)
        made = Path(scratch) / "package"
        made.mkdir()
        module.write(parts, made)
        parts.put_provenance(made)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(made, out, dirs_exist_ok=True)
        except OSError as error:
            raise UserError(f"can't write {out} ({error.strerror}); give another --out") from None
    return record


def verify(place: Path) -> tuple[Package, list[str]]:
    """A package's record, and what is not as it was packed. Nothing of it is run. Raises UserError for what is no package."""
    if not place.is_dir():
        raise UserError(f"no package {place}: give its folder")
    record = Package.read(place)
    return record, record.faults(place)


def _chosen(found: list[EngineFile], place: Path, form: str, holds: dict[str, str], trust: bool) -> EngineFile:
    fitting = [each for each in found if each.backend in holds]
    if not fitting:
        has = ", ".join(dict.fromkeys(each.backend for each in found))
        also = "; --backend onnxruntime packs the build's graph" if ONNXRUNTIME in holds and found[0].graph else ""
        raise UserError(
            f"a package for {form} holds an engine of {', '.join(holds)}, and {place} has one of {has}{also}"
        )
    reasons = []
    for each in fitting:
        if not (reason := each.blocked(trust)):
            return each
        reasons.append(f"{each.name}: {reason}")
    raise UserError(f"the sample of a package is run, and that can't be here: {'; '.join(reasons)}")


def _verdict(engine: EngineFile) -> tuple[Verified, str]:
    """Of an engine that of its record, as long as it is the file that was built; of a build's graph that of its last comparison."""
    if engine.record is not None:
        if hash_file(engine.file) != engine.record.sha256:
            return "no", "it is not the file that its build has made"
        return engine.record.verified, engine.record.verified_reason
    if engine.manifest is None:
        return "not run", "no build has held it against anything"
    compared = [stage for stage in engine.manifest.stages if stage.comparison and not stage.backend]
    if not compared:
        return "not run", "it is the model as it was given"
    return verified(compared[-1], {stage.id: stage for stage in engine.manifest.stages})


def _record(engine: EngineFile, form: str, sampled: Sampled, verdict: Verified, reason: str) -> Package:
    manifest = engine.manifest
    tools: dict[str, str] = {}
    for stage in manifest.stages if manifest else ():
        tools |= stage.tools
    return Package.model_validate(
        {
            "form": form,
            "name": manifest.model.name if manifest else engine.file.stem,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "enginesmith": __version__,
            "backend": engine.backend,
            "target": engine.target,
            "engine": "",
            "engine_sha256": hash_file(engine.file),
            "size": engine.file.stat().st_size,
            "inputs": sampled.open,
            "outputs": sampled.outputs,
            "model": manifest.model.spec if manifest else engine.file.name,
            "precision": manifest.precision if manifest else "as the graph has it",
            "weights": manifest.model.weights if manifest else None,
            "graph_sha256": hash_file(engine.graph) if engine.graph else "",
            "verified": verdict,
            "verified_reason": reason,
            "unverified": verdict != "yes",
            "task": manifest.model.task if manifest else "",
            "pixels": manifest.model.pixels if manifest else "unknown",
            "names": manifest.model.names if manifest else [],
            "tools": tools,
        }
    )
