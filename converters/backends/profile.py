"""The optimization profile of a set of samples, and those of a module of static shapes."""

from __future__ import annotations

from collections.abc import Sequence

from enginesmith.converters.backends.base import BuildRequest, Profile
from enginesmith.converters.core.inputs import InputSpec


def profile_of(specs: Sequence[InputSpec]) -> Profile:
    """Minimum, optimum and maximum shapes of every input; empty when all dimensions are static."""
    if not any(spec.dynamic for spec in specs):
        return {}
    return {spec.name: (spec.min, spec.opt, spec.max) for spec in specs}


def static_profiles(request: BuildRequest) -> Sequence[Profile]:
    """For a backend of static shapes, of each that it is to build: the shapes asked for, or the profile's optimum."""
    fixed = [{name: (shape, shape, shape) for name, shape in shapes.items()} for shapes in request.shapes]
    return fixed or [request.profile]
