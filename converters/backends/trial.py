"""Would a backend take this graph? A real parse and a real build of the whole graph, without the artifact.

Made to be called by name in `converters.isolated.Isolated`: arguments and results are JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import Profile

TRIAL = "enginesmith.converters.backends.trial:trial"


def trial(
    backend: str,
    onnx: str,
    target: str,
    profile: Profile | None = None,
    values: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any] | None:
    """None when `backend` takes the ONNX file at path `onnx`, else a `Rejection` as a dict.

    `profile` is as in BuildRequest. `values` gives each integer input that decides on shapes a value it may have:
    TensorRT asks for their range.
    """
    rejection = get_backend(backend).trial(Path(onnx), target, profile or {}, values or {})
    return rejection.model_dump() if rejection else None
