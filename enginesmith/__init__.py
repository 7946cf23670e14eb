"""From a PyTorch or ONNX model to a verified inference engine: TensorRT, TensorRT-RTX, TVM.

    import enginesmith

    result = enginesmith.build("lenet", backend="tvm", progress=True)
    outputs = result.engines[0](array)

Each name is imported when it is used first, so that this module costs milliseconds.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# What is built here is nobody else's business. ONNX Runtime reports models' names, graphs and hashes to its makers, from
# its import on; every process of ours imports this module first, and hands its environment to those that it starts.
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}

if TYPE_CHECKING:
    from enginesmith.compat.diagnoses import Explanation as Explanation
    from enginesmith.converters.core.errors import ConversionError as ConversionError
    from enginesmith.converters.core.errors import UserError as UserError
    from enginesmith.converters.core.recipe import Recipe as Recipe
    from enginesmith.pipeline import __version__ as __version__
    from enginesmith.pipeline.api.bisect import bisect as bisect
    from enginesmith.pipeline.api.build import build as build
    from enginesmith.pipeline.api.compare import compare as compare
    from enginesmith.pipeline.api.doctor import Checkup as Checkup
    from enginesmith.pipeline.api.doctor import doctor as doctor
    from enginesmith.pipeline.api.engine import Engine as Engine
    from enginesmith.pipeline.api.explain import explain as explain
    from enginesmith.pipeline.api.migrate import migrate as migrate
    from enginesmith.pipeline.api.result import BuildError as BuildError
    from enginesmith.pipeline.api.result import Result as Result
    from enginesmith.pipeline.api.run import run as run
    from enginesmith.pipeline.api.sensitivity import Sensitivity as Sensitivity
    from enginesmith.pipeline.api.sensitivity import sensitivity as sensitivity
    from enginesmith.pipeline.api.upgrade import upgrade as upgrade
    from enginesmith.pipeline.job.contrast import Contrast as Contrast
    from enginesmith.pipeline.job.events import Event as Event
    from enginesmith.pipeline.job.manifest import Manifest as Manifest
    from enginesmith.pipeline.job.migrate import Migration as Migration
    from enginesmith.pipeline.job.upgrade import Upgrade as Upgrade

_PLACES = {
    "BuildError": "pipeline.api.result",
    "Checkup": "pipeline.api.doctor",
    "Contrast": "pipeline.job.contrast",
    "ConversionError": "converters.core.errors",
    "Engine": "pipeline.api.engine",
    "Event": "pipeline.job.events",
    "Explanation": "compat.diagnoses",
    "Manifest": "pipeline.job.manifest",
    "Migration": "pipeline.job.migrate",
    "Recipe": "converters.core.recipe",
    "Result": "pipeline.api.result",
    "Sensitivity": "pipeline.api.sensitivity",
    "Upgrade": "pipeline.job.upgrade",
    "UserError": "converters.core.errors",
    "__version__": "pipeline",
    "bisect": "pipeline.api.bisect",
    "build": "pipeline.api.build",
    "compare": "pipeline.api.compare",
    "doctor": "pipeline.api.doctor",
    "explain": "pipeline.api.explain",
    "migrate": "pipeline.api.migrate",
    "run": "pipeline.api.run",
    "sensitivity": "pipeline.api.sensitivity",
    "upgrade": "pipeline.api.upgrade",
}

__all__ = [
    "BuildError",
    "Checkup",
    "Contrast",
    "ConversionError",
    "Engine",
    "Event",
    "Explanation",
    "Manifest",
    "Migration",
    "Recipe",
    "Result",
    "Sensitivity",
    "Upgrade",
    "UserError",
    "__version__",
    "bisect",
    "build",
    "compare",
    "doctor",
    "explain",
    "migrate",
    "run",
    "sensitivity",
    "upgrade",
]


if not TYPE_CHECKING:  # a type checker that sees this believes in every name

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        return found


def __dir__() -> list[str]:
    return [*__all__, "compat", "converters", "pipeline"]
