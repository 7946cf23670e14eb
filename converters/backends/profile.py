"""The optimization profile of a set of samples."""

from __future__ import annotations

from collections.abc import Sequence

from enginesmith.converters.backends.base import Profile
from enginesmith.converters.inputs import InputSpec


def profile_of(specs: Sequence[InputSpec]) -> Profile:
    """Minimum, optimum and maximum shapes of every input; empty when all dimensions are static."""
    if not any(spec.dynamic for spec in specs):
        return {}
    return {spec.name: (spec.min, spec.opt, spec.max) for spec in specs}
