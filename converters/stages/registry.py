"""The stages by name. Adding a stage is one module and one line here; its place is in the order of `pipeline/job/plan.py`, or it says
itself which other one it `follows`.

Third parties add theirs by an entry point of the group `enginesmith.stages`: its name is the stage's.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module, metadata
from typing import Any

from enginesmith.converters.core.errors import first_line
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.stage import Stage

STAGES = {
    "prune": "enginesmith.converters.stages.prune:Prune",
    "finetune": "enginesmith.converters.stages.finetune:Finetune",
    "export": "enginesmith.converters.stages.export:Export",
    "import": "enginesmith.converters.stages.import_onnx:OnnxImport",
    "simplify": "enginesmith.converters.stages.simplify:Simplify",
    "calibrate": "enginesmith.converters.stages.calibrate:Calibrate",
    "precision": "enginesmith.converters.stages.precision:Lower",
    "search": "enginesmith.converters.stages.search:SearchMix",
    "sensitivity": "enginesmith.converters.stages.sensitivity:MeasureSensitivity",
    "evaluate": "enginesmith.converters.stages.evaluate:MeasureAccuracy",
    "tune": "enginesmith.converters.stages.tune:Tune",
    "compile": "enginesmith.converters.stages.compile:Compile",
    "compare": "enginesmith.converters.stages.compare:Compare",
    "measure": "enginesmith.converters.stages.measure:Measure",
}


GROUP = "enginesmith.stages"


_LEFT_OUT: dict[str, str] = {}


@cache
def _plugged() -> dict[str, str]:
    """Stages of third parties: name to `module:class`. One that doesn't load is left out: it must not keep ours from their
    work.
    """
    found = {}
    for point in metadata.entry_points(group=GROUP):
        if point.name in STAGES:
            continue
        try:
            if not isinstance(point.load()(), Stage):
                raise TypeError(f"{point.value} is no Stage")
            found[point.name] = point.value
        except (Exception, SystemExit) as error:  # noqa: BLE001 - another's module raises anything
            _LEFT_OUT[point.name] = f"the stage {point.name} ({point.value}) is left out: {first_line(error)}"
    return found


def warnings() -> list[str]:
    """A line for each stage of third parties that doesn't load."""
    _plugged()
    return list(_LEFT_OUT.values())


def _place(name: str) -> str:
    return STAGES.get(name) or _plugged()[name]


def names() -> list[str]:
    """All stages that are here."""
    return [*STAGES, *_plugged()]


def followers(name: str) -> list[str]:
    """The stages that say of themselves that they are planned after the stage `name`: those of third parties, and new ones."""
    return [each for each in (*STAGES, *_plugged()) if load_stage(each).follows == name]


def facts_type(name: str) -> type[Facts]:
    """What a stage's facts are; of one that isn't installed any more, what all have in common."""
    return load_stage(name).facts if name in STAGES or name in _plugged() else Facts


def stage_module(name: str) -> str:
    """The module that holds a stage."""
    return _place(name).partition(":")[0]


def load_stage(name: str) -> Stage[Any]:
    """Import a stage: cheap, since stages import their frameworks when they run."""
    module, _, attribute = _place(name).partition(":")
    stage = getattr(import_module(module), attribute)()
    assert isinstance(stage, Stage)
    return stage
