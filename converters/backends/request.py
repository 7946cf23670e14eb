"""What is asked of a backend for a graph that takes a set of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.profile import observed_values, profile_of, values_of
from enginesmith.converters.core.inputs import listed_shapes
from enginesmith.converters.core.samples import Feed, SampleSet


def request_for(
    onnx: Path, target: str, samples: SampleSet, feeds: Sequence[Feed], out: Path, **settings: Any
) -> BuildRequest:
    """Shapes and values are those of the samples; `settings` are further fields."""
    return BuildRequest(
        onnx=onnx,
        target=target,
        profile=profile_of(samples.specs),
        out=out,
        shapes=listed_shapes(samples.specs),
        values=values_of(samples.specs),
        observed=observed_values(samples, feeds),
        **settings,
    )
