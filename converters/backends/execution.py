"""An engine that runs in a process of its own. Called by name in `Isolated`: arguments and results are JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.exchange import Exchange

LOAD = f"{__name__}:load"
RUN = f"{__name__}:run"

_open: dict[str, Any] = {}
"""The runners of this process by their engine's path; they end with it."""
_stack = ExitStack()


def load(backend: str, engine: str, threads: int | None) -> list[dict[str, Any]]:
    """Make an engine ready, and say what it takes: name, dtype and shape (-1: of any size) of each input.

    Raises UserError where it can't run here, ConversionError where it can't be loaded.
    """
    runner = _open[engine] = _stack.enter_context(get_backend(backend).runner(Path(engine), threads))
    inputs = runner.get_input_metadata(use_numpy_dtypes=True)
    return [
        {
            "name": name,
            "dtype": str(each.dtype),
            "shape": [size if isinstance(size, int) else -1 for size in each.shape],
        }
        for name, each in inputs.items()
    ]


def run(engine: str, fd: int, arrays: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Run a loaded engine once on what lies in the memory `fd`, and leave its outputs there."""
    exchange = Exchange(fd)
    runner = _open[engine]
    outputs = runner.infer(exchange.take(arrays), check_inputs=False)
    return {"outputs": exchange.put(outputs), "seconds": runner.last_inference_time()}
