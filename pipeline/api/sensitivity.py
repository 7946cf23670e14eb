"""What each layer alone loses in a lower precision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.records import SensitivityRecord
from enginesmith.converters.stages.sensitivity import FILE
from enginesmith.pipeline import report
from enginesmith.pipeline.api.build import with_fields
from enginesmith.pipeline.api.objects import Inputs, Model, as_recipe
from enginesmith.pipeline.api.progress import listening
from enginesmith.pipeline.api.result import BuildError, first_failure
from enginesmith.pipeline.job.builder import Builder, worker_environment
from enginesmith.pipeline.job.events import Event, Listener
from enginesmith.pipeline.job.plan import sensitivity_plan
from enginesmith.pipeline.job.recipe import make_recipe
from enginesmith.pipeline.job.results import LOGS, output_folder
from enginesmith.pipeline.job.store import Store

STAGE = "sensitivity"
DEFAULTS = {"precision": "int8"}


@dataclass(frozen=True)
class Sensitivity:
    """`record` has the layers, the most harmful first; `folder` the same as a file, and the page for people."""

    record: SensitivityRecord
    folder: Path

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


def sensitivity(
    model: Model,
    inputs: Inputs = None,
    *,
    store: str | Path | None = None,
    progress: bool | Listener | None = None,
    **options: Any,
) -> Sensitivity:
    """Rank the layers of a model by what each alone loses in a lower precision (`int8`, or `fp16`).

        for layer in enginesmith.sensitivity(module, x, precision="int8", calib=loader).record.layers:
            print(layer.node, layer.loss)

    Everything is given as to `build`. `time` is how long it may take, in seconds or as `10m`: layers that save least are
    left out then; `target` is what the time that a layer saves is estimated for; `out` is the folder of the results,
    build/MODEL/sensitivity-PRECISION where left out.

    Raises UserError for a request that can't be met; BuildError, a ConversionError, for a stage that failed.
    """
    place = Store(store)
    with as_recipe(model, inputs, options, place) as values, listening(progress) as listener:
        return measure(make_recipe({**DEFAULTS, **values}), place, listener)


def measure(recipe: Recipe, store: Store, listener: Listener) -> Sensitivity:
    """What a recipe says. Raises as `sensitivity` does."""
    plan = sensitivity_plan(recipe)
    folder = recipe.out or Path("build") / plan.source.name / f"{STAGE}-{recipe.precision}"
    with output_folder(recipe.model_copy(update={"out": folder}), plan) as out:
        logs = out / LOGS
        logs.mkdir(exist_ok=True)
        listener(Event(event="plan", total=len(plan.stages)))
        build = Builder(store, recipe, logs, listener, worker_environment(recipe)).run(plan)
    if failed := first_failure(build.records):
        raise BuildError(failed)
    found = (store.files(build.entries[STAGE].key) / FILE).read_bytes()
    (out / FILE).write_bytes(found)
    record = SensitivityRecord.model_validate_json(found)
    report.write_sensitivity(plan.source.name, record, out / "report.html")
    return Sensitivity(record, out)


with_fields(sensitivity)
