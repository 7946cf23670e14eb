"""What a build leaves in its folder: the engines, the final graph, and `manifest.json`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.facts import ModelFacts
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.hashing import hash_value
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import FP32, Recipe
from enginesmith.converters.core.records import Verified
from enginesmith.converters.core.secrets import redacted
from enginesmith.converters.stages.compile import CompileFacts
from enginesmith.converters.stages.measure import MeasureFacts
from enginesmith.pipeline import __version__
from enginesmith.pipeline.job.artifacts import Build
from enginesmith.pipeline.job.entry import Entry
from enginesmith.pipeline.job.environment import machine_record
from enginesmith.pipeline.job.manifest import PASSED, EngineRecord, Manifest, ModelRecord, StageRecord
from enginesmith.pipeline.job.plan import Plan
from enginesmith.pipeline.job.store import Store
from enginesmith.pipeline.job.trusted import note_built

LOGS = "logs"
"""Folder of the tools' own output, within the results."""


@contextmanager
def output_folder(recipe: Recipe, plan: Plan) -> Iterator[Path]:
    """Make the folder. A bad request leaves no trace: what was made for it goes again, unless something lies in it.

    Raises UserError when it can't be written.
    """
    folder = (recipe.out or Path("build") / plan.source.name / recipe.precision).absolute()
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"can't write the output folder {folder} ({error.strerror}); give another one with --out (OUT=)"
        ) from None
    try:
        yield folder
    except UserError:
        if folder in made:
            shutil.rmtree(folder / LOGS, ignore_errors=True)
        with suppress(OSError):  # not empty: another run's
            for path in made:
                path.rmdir()
        raise


def write_results(folder: Path, recipe: Recipe, plan: Plan, build: Build, store: Store, seconds: float) -> Manifest:
    """Copy what was built, and write the manifest. Every file appears whole or not at all, and one run
    at a time writes a folder."""
    with store.lock(hash_value(str(folder))):
        return _write(folder, recipe, plan, build, store, seconds)


def _write(folder: Path, recipe: Recipe, plan: Plan, build: Build, store: Store, seconds: float) -> Manifest:
    engines = []
    for planned in plan.stages:
        entry = build.entries.get(planned.id)
        if planned.stage == "compile" and entry is not None:
            target = folder / f"{planned.backend}_{planned.target}"
            _copy(store, entry, target)
            engines.append(_engine(planned, entry, target.name, build, folder))
            note_built(engines[-1].sha256)
    if plan.model in build.entries:
        _copy(store, build.entries[plan.model], folder, only="model.onnx")
    facts = next((record.facts for record in build.records if isinstance(record.facts, ModelFacts)), None)
    manifest = Manifest(
        enginesmith=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=[Path(sys.argv[0]).name, *map(redacted, sys.argv[1:])],
        recipe=recipe.model_dump(mode="json", exclude_defaults=True),
        precision=recipe.precision,
        success=build.success,
        seconds=round(seconds, 2),
        machine=machine_record(),
        model=ModelRecord(
            spec=recipe.model,
            name=plan.source.name,
            task=facts.task if facts else "",
            weights=facts.weights if facts else None,
            inputs=facts.inputs if facts else [],
            outputs=facts.outputs if facts else [],
            pixels=facts.pixels if facts else "unknown",
            names=facts.names if facts else [],
            signature=facts.signature if facts else None,
        ),
        stages=build.records,
        engines=engines,
        warnings=list(
            dict.fromkeys((*plan.warnings, *(told for record in build.records for told in record.facts.warnings)))
        ),
    )
    manifest.write(folder / "manifest.json")
    return manifest


def _engine(planned: PlannedStage, entry: Entry, folder: str, build: Build, results: Path) -> EngineRecord:
    """`verified` is what the comparison of this very engine says, unless a stage on the way to it has a doubt."""
    records = {record.id: record for record in build.records}
    name = f"{planned.backend} {planned.target}"
    compare = records[f"compare {name}"]
    measure = records.get(f"measure {name}")
    measured = measure.told(MeasureFacts) if measure else None
    built = entry.told(CompileFacts)
    assert built is not None
    info = built.engine
    file = get_backend(planned.backend).engine_file
    verdict, reason = verified(compare, records)
    return EngineRecord.model_validate(
        {
            **info.model_dump(exclude={"file"}),
            "path": f"{folder}/{file}",
            "sha256": entry.files[file].sha256,
            "verified": verdict,
            "verified_reason": reason,
            "latency": measured.latency if measured else None,
            "profile": measured.profile if measured else None,
            "fp32_size": _fp32_size(results, f"{folder}/{file}"),
        }
    )


def verified(compare: StageRecord, records: Mapping[str, StageRecord]) -> tuple[Verified, str]:
    """The verdict and its reason; the worst doubt first."""
    if compare.status == "failed":
        return "no", compare.error
    if compare.status not in PASSED:
        return "not run", compare.error
    doubts = [doubt for id in _way_to(compare, records) if (doubt := records[id].facts.doubt)]
    if doubts:
        worst = min(doubts, key=lambda doubt: doubt.verified != "no")
        return worst.verified, worst.reason
    comparison = compare.comparison
    if comparison and comparison.verdict == "proves nothing":
        return "proves nothing", comparison.reason
    shown = (records[id].told(ModelFacts) for id in _way_to(compare, records))
    unseen = (facts.coverage.told for facts in shown if facts and facts.coverage)
    return "yes", "; ".join(filter(None, ((comparison.reason if comparison else "") or compare.facts.note, *unseen)))


def _way_to(record: StageRecord, records: Mapping[str, StageRecord]) -> Iterator[str]:
    """The stage, and all whose work went into it, in the order of the plan."""
    found, left = {record.id}, [record]
    while left:
        stage = left.pop()
        new = {*stage.needs.values(), *stage.after} - found
        found |= new
        left += [records[id] for id in new]
    return (id for id in records if id in found)


def _fp32_size(results: Path, path: str) -> int | None:
    """Bytes of the same engine in the fp32 build of this model, whose folder lies beside this one's; None without it."""
    beside = results.parent / FP32
    if results.name == FP32 or not (beside / path).is_file():
        return None
    return (beside / path).stat().st_size


def _copy(store: Store, entry: Entry, target: Path, only: str = "") -> None:
    """Copy an artifact's files; one that is there already, with the same content, is left alone.

    Copies and not links: whoever edits a result must not damage the store. Raises UserError where the store has lost the
    files since they were looked up.
    """
    for name, record in entry.files.items():
        if not name.startswith(only):
            continue
        copy = target / name
        if copy.is_file() and copy.stat().st_size == record.size and hash_file(copy) == record.sha256:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        temporary = copy.with_name(copy.name + ".tmp")
        try:
            shutil.copy2(store.files(entry.key) / name, temporary)
        except FileNotFoundError:
            sound = False
        else:
            sound = hash_file(temporary) == record.sha256
        if not sound:
            temporary.unlink(missing_ok=True)
            raise UserError(f"what {entry.id} left in the store {store.root} was damaged during the build; build again")
        temporary.replace(copy)
