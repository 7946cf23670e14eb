"""The optimization profile of a set of samples, the values in it, and the profiles of a module of static shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from enginesmith.converters.backends.base import BuildRequest, Profile, Values
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Feed, SampleSet

MOST_VALUES = 64
"""Elements that an input may have to decide on sizes."""


def profile_of(specs: Sequence[InputSpec]) -> Profile:
    """Minimum, optimum and maximum shapes of every input; empty when all dimensions are static."""
    if not any(spec.dynamic for spec in specs):
        return {}
    return {spec.name: (spec.min, spec.opt, spec.max) for spec in specs}


def values_of(specs: Sequence[InputSpec]) -> Values:
    """Of the inputs for which a range of values was given."""
    return {
        spec.name: (count * [spec.values.min], count * [spec.values.opt], count * [spec.values.max])
        for spec in specs
        if spec.values is not None and (count := math.prod(spec.opt))
    }


def observed_values(samples: SampleSet, feeds: Sequence[Feed]) -> Values:
    """What the ordinary samples have of other small inputs of integers, element by element; the first one is the likeliest."""
    import numpy as np

    found: dict[str, tuple[list[int], list[int], list[int]]] = {}
    for spec in samples.specs:
        if "int" in spec.dtype and spec.values is None and not spec.dynamic and 0 < math.prod(spec.opt) <= MOST_VALUES:
            seen = np.stack([feeds[index][spec.name].ravel() for index in samples.ordinary()])
            found[spec.name] = (seen.min(0).tolist(), seen[0].tolist(), seen.max(0).tolist())
    return found


def static_profiles(request: BuildRequest) -> Sequence[Profile]:
    """For a backend of static shapes, of each that it is to build: the shapes asked for, or the profile's optimum."""
    fixed = [{name: (shape, shape, shape) for name, shape in shapes.items()} for shapes in request.shapes]
    return fixed or [request.profile]
