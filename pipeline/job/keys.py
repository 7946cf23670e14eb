"""The key of a stage: the hash of everything that its result depends on."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from enginesmith.converters.backends import BACKENDS, OURS
from enginesmith.converters.core.hashing import code_version, hash_value, package_versions, plugin_version
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.stages.registry import load_stage, stage_module


def stage_tools(planned: PlannedStage) -> dict[str, str]:
    """Versions of the packages that do the stage's work."""
    stage = load_stage(planned.stage)
    return package_versions(stage.packages_of(planned.options))


def backend_version(name: str) -> str:
    """Digest of the code of a backend, which the stages know by name only."""
    if not name:
        return ""
    return (code_version if name in OURS else plugin_version)(BACKENDS.module(name))


def stage_key(planned: PlannedStage, inputs: Mapping[str, str]) -> str:
    """`inputs` maps a role to the digest of the artifact that fills it."""
    return hash_value(
        {
            "stage": planned.stage,
            "options": planned.options.model_dump(mode="json"),
            "inputs": dict(inputs),
            "tools": stage_tools(planned),
            "code": [code_version(stage_module(planned.stage)), backend_version(planned.backend)],
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
    )
