"""The stages by name. Adding a stage is one module and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from enginesmith.converters.stage import Stage

STAGES = {
    "finetune": "enginesmith.converters.finetune.stage:Finetune",
    "export": "enginesmith.converters.export:Export",
    "import": "enginesmith.converters.onnx_import:OnnxImport",
    "simplify": "enginesmith.converters.simplify:Simplify",
    "calibrate": "enginesmith.converters.precision.calibrate:Calibrate",
    "precision": "enginesmith.converters.precision.stage:Lower",
    "search": "enginesmith.converters.precision.searching:SearchMix",
    "sensitivity": "enginesmith.converters.precision.sensing:MeasureSensitivity",
    "evaluate": "enginesmith.converters.precision.accuracy:MeasureAccuracy",
    "check": "enginesmith.converters.check:Check",
    "tune": "enginesmith.converters.tune:Tune",
    "compile": "enginesmith.converters.compile:Compile",
    "compare": "enginesmith.converters.compare:Compare",
    "measure": "enginesmith.converters.measure:Measure",
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
