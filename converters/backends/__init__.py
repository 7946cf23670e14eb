"""The backends by name. Importing this costs milliseconds: each imports its framework only when it works."""

from __future__ import annotations

from enginesmith.converters.backends.base import Backend
from enginesmith.converters.backends.tensorrt.backend import TENSORRT, TENSORRT_RTX, TensorRTBackend
from enginesmith.converters.backends.tvm.backend import TvmBackend
from enginesmith.converters.core.names import unknown

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (TensorRTBackend(TENSORRT), TensorRTBackend(TENSORRT_RTX), TvmBackend())  # in order of preference
}

AUTO = "auto"


def get_backend(name: str) -> Backend:
    """The backend called `name`. Raises UserError with the nearest names."""
    if name not in BACKENDS:
        raise unknown("backend", name, [*BACKENDS, AUTO])
    return BACKENDS[name]


def buildable() -> list[str]:
    """Names of the backends that this machine can build with: what `auto` stands for."""
    return [name for name, backend in BACKENDS.items() if backend.available() is None]
