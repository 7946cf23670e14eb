"""What a stage of a build may take of the machine."""

from __future__ import annotations

import psutil

from enginesmith.converters.core.limits import GB, limits_for, size_of
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.stages.import_onnx import ImportOptions
from enginesmith.pipeline.job.process import Limits


def limits(recipe: Recipe, planned: PlannedStage) -> Limits:
    """As the recipe says. Where it doesn't, a stranger's graph gets what a laptop survives when it is read and first run."""
    allowed = Limits(recipe.timeout, int(recipe.memory * GB or 0.9 * psutil.virtual_memory().total))
    if not isinstance(planned.options, ImportOptions) or not planned.options.path.is_file():
        return allowed
    given = recipe.timeout != Recipe.model_fields["timeout"].default
    timeout = recipe.timeout if given or "timeout" in recipe.model_fields_set else None
    usual = limits_for(size_of(planned.options.path), timeout, recipe.memory)
    return Limits(usual.seconds, min(usual.memory, allowed.memory))
