"""The same graph built otherwise, to hold an engine against: as plainly as its backend can, and without TF32 on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.backends.base import Backend
from enginesmith.converters.backends.building import build
from enginesmith.converters.backends.request import request_for
from enginesmith.converters.core.samples import Feed, SampleSet
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs import interface
from enginesmith.converters.graphs.answers import Infer
from enginesmith.converters.graphs.self_checks import infer_with


def plainer(
    backend: Backend, target: str, onnx: Path, samples: SampleSet, feeds: Sequence[Feed], context: Context
) -> Mapping[str, Callable[[], Infer]]:
    """What builds and opens another engine of the graph, by the name of the check that holds the two against each other. It
    raises what a build raises; the engine stays open as long as the process lives.
    """

    def other(name: str, settings: Mapping[str, Any]) -> Callable[[], Infer]:
        def opened() -> Infer:
            context.progress(f"building another engine: {name}")
            out = context.scratch / name.replace(" ", "-")
            out.mkdir()
            request = request_for(onnx, target, samples, feeds, out, **settings)
            built = build(backend, request, context, feeds, out / "repaired.onnx")
            runner = backend.runner(out / backend.engine_file)
            runner.activate()
            return infer_with(runner, interface.of(built.onnx))

        return opened

    plain = {"lowest level": other("lowest level", backend.levels[-1])} if backend.levels else {}
    return plain | ({"without TF32": other("without TF32", {"tf32": False})} if backend.gpu else {})
