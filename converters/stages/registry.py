"""The stages by name. Adding a stage is one module and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from enginesmith.converters.core.stage import Stage

STAGES = {
    "finetune": "enginesmith.converters.stages.finetune:Finetune",
    "export": "enginesmith.converters.stages.export:Export",
    "import": "enginesmith.converters.stages.import_onnx:OnnxImport",
    "simplify": "enginesmith.converters.stages.simplify:Simplify",
    "calibrate": "enginesmith.converters.stages.calibrate:Calibrate",
    "precision": "enginesmith.converters.stages.precision:Lower",
    "search": "enginesmith.converters.stages.search:SearchMix",
    "sensitivity": "enginesmith.converters.stages.sensitivity:MeasureSensitivity",
    "evaluate": "enginesmith.converters.stages.evaluate:MeasureAccuracy",
    "check": "enginesmith.converters.stages.check:Check",
    "tune": "enginesmith.converters.stages.tune:Tune",
    "compile": "enginesmith.converters.stages.compile:Compile",
    "compare": "enginesmith.converters.stages.compare:Compare",
    "measure": "enginesmith.converters.stages.measure:Measure",
}


def stage_module(name: str) -> str:
    """The module that holds a stage."""
    return STAGES[name].partition(":")[0]


def load_stage(name: str) -> Stage[Any]:
    """Import a stage: cheap, since stages import their frameworks when they run."""
    module, _, attribute = STAGES[name].partition(":")
    stage = getattr(import_module(module), attribute)()
    assert isinstance(stage, Stage)
    return stage
