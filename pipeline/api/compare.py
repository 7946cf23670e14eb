"""What differs between two builds, two graphs, or a graph and an engine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from enginesmith.pipeline.api.engine import Engine
from enginesmith.pipeline.api.files import Graph, graph_file
from enginesmith.pipeline.api.progress import listening
from enginesmith.pipeline.api.result import Result
from enginesmith.pipeline.job import compare as job
from enginesmith.pipeline.job.contrast import Contrast
from enginesmith.pipeline.job.events import Event, Listener
from enginesmith.pipeline.job.store import Store

STAGE = "compare"


def compare(
    a: Graph | Result | Engine,
    b: Graph | Result | Engine,
    *,
    run: bool = True,
    shape: str | None = None,
    timeout: float = job.TIMEOUT,
    store: str | Path | None = None,
    trust: bool = False,
    progress: bool | Listener | None = None,
) -> Contrast:
    """Hold `b` against `a`: what differs in outputs, nodes, precision, size, latency, versions of tools, and findings.

        contrast = enginesmith.compare("before/manifest.json", "after/manifest.json")
        for change in contrast.tools:
            print(change.what, change.before, change.after)

    Each is a `Result` or a build's output folder, its manifest.json alone, an .onnx file or a ModelProto, an `Engine` or its
    file within the output folder. With `run` both run on the same samples where they can: those of the build, which its
    store or its folder holds (samples.json with inputs.json), or made up for a graph, where `shape` is that of its dynamic
    inputs. Each runs in a process of its own, for `timeout` seconds at most. An engine is machine code: one that was not
    built on this machine runs with `trust` alone.

    `differs` of the answer says that outputs, interface, verdicts or precision are not the same.
    Raises UserError for what is none of these; ConversionError for a graph that can't be read.
    """
    with listening(progress) as tell, ExitStack() as stack:
        tell(Event(event="start", stage=STAGE))

        def listen(text: str) -> None:
            tell(Event(event="progress", stage=STAGE, text=text))

        left, right = (stack.enter_context(graph_file(_path(side))) for side in (a, b))
        return job.compare(left, right, Store(store), run=run, shape=shape, timeout=timeout, trust=trust, listen=listen)


def _path(side: Graph | Result | Engine) -> Graph:
    if isinstance(side, Result):
        return side.folder
    return side.path if isinstance(side, Engine) else side
