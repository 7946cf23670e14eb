"""What is to blame: the smallest part of a graph that fails, or the first tensor at which two stages of a build differ."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, overload

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.isolated import FAILED, Isolated
from enginesmith.converters.core.limits import limits_for, size_of
from enginesmith.converters.graphs.files import CHECK
from enginesmith.pipeline.api.files import Graph, check_writable, graph_file
from enginesmith.pipeline.api.progress import listening
from enginesmith.pipeline.api.result import Result
from enginesmith.pipeline.job.events import Event, Listener
from enginesmith.pipeline.job.finished import Run
from enginesmith.pipeline.job.shapes import parse_shapes
from enginesmith.pipeline.job.store import Store

if TYPE_CHECKING:  # they import onnx
    from enginesmith.converters.bisect.divergence import Divergence
    from enginesmith.converters.bisect.search import Limits, Reduction

STAGE = "bisect"
TIMEOUT = 120.0
"""Seconds of one test."""


@overload
def bisect(
    subject: Graph,
    fails: str,
    *,
    target: str = "auto",
    shape: str | None = None,
    any_failure: bool = False,
    timeout: float = TIMEOUT,
    memory: float | None = None,
    time: float | None = None,
    out: str | Path | None = None,
    progress: bool | Listener | None = None,
) -> Reduction: ...


@overload
def bisect(
    subject: str | Path | Result,
    fails: None = None,
    *,
    stages: str | None = None,
    timeout: float = TIMEOUT,
    time: float | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    progress: bool | Listener | None = None,
) -> list[Divergence]: ...


def bisect(
    subject: Graph | Result,
    fails: str | None = None,
    *,
    stages: str | None = None,
    target: str = "auto",
    shape: str | None = None,
    any_failure: bool = False,
    timeout: float = TIMEOUT,
    memory: float | None = None,
    time: float | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    progress: bool | Listener | None = None,
) -> Reduction | list[Divergence]:
    """Reduce a graph to the smallest part that fails, or find the first tensor at which two stages of a build differ.

        reduction = enginesmith.bisect("model.onnx", "build on tensorrt-rtx")
        divergences = enginesmith.bisect(result)

    With `fails`, a condition (`parse on tvm`, `inconsistent on tvm`, `differs between onnxruntime and tvm by 1e-3`,
    `command: CMD {}`), `subject` is an .onnx file or a ModelProto; the smallest part is written to `out`, NAME-reduced.onnx
    where left out. `target` is what a backend builds for, `shape` that of dynamic inputs; with `any_failure` a part may fail
    in another way. A reduction without a `failure` says that the graph doesn't fail.

    Without `fails`, `subject` is a `Result` or a build's output folder; `stages` names two, such as `export,simplify`; the
    folder `out`, the build's own where left out, gets the plot. A divergence whose `first` is None says that both agree.
    Of an engine that doesn't, the smallest change is searched for with which it does (`time`: 900 s where left out), and
    `out` gets a recipe with it; `workaround` has its keys, `command` builds it.

    `timeout`: seconds of one test; `memory`: GB of one, 3 and more for a large file where left out. `time`:
    seconds of the search; the best so far is saved then.
    Raises UserError for requests that make no sense, ConversionError where two sides that were named can't be compared.
    """
    if fails is None:
        if not isinstance(subject, str | Path | Result):
            raise UserError(
                "give a condition (fails='build on tvm') for a graph, or a build's output folder without one"
            )
        folder = subject.folder if isinstance(subject, Result) else Path(subject)
        return _diverges(folder, stages, timeout, time, Path(out or folder), store, progress)
    if isinstance(subject, Result):
        raise UserError("a condition is for a graph; without one two stages of the build are held against each other")
    if stages is not None:
        raise UserError("stages are those of a build, and a condition is for a graph")
    from enginesmith.converters.bisect.search import Limits

    with graph_file(subject) as path:
        if not path.is_file():
            raise UserError(f"no file {path}")
        allowed = limits_for(size_of(path), timeout, memory)
        limits = Limits(timeout, math.inf if time is None else time, any_failure, allowed.memory)
        return _reduce(path, fails, target, shape, limits, Path(out or f"{path.stem}-reduced.onnx"), progress)


def _reduce(
    path: Path,
    fails: str,
    target: str,
    shape: str | None,
    limits: Limits,
    out: Path,
    progress: bool | Listener | None,
) -> Reduction:
    from enginesmith.converters.bisect.conditions import parse_condition
    from enginesmith.converters.bisect.search import reduce_file

    condition = parse_condition(fails, target)
    with Isolated(without_torch=True, memory=limits.memory) as process:  # onnx's own code crashes on some files
        try:
            process.call(CHECK, str(path), limits.memory, timeout=limits.timeout)
        except FAILED as error:
            raise UserError(f"{path} can't be read: {error}") from None
    shapes = parse_shapes(shape) if shape else ()
    if out.exists() and out.samefile(path):
        raise UserError(f"{out} is the model itself; give another --out")
    check_writable(out=out)
    with listening(progress) as tell, tempfile.TemporaryDirectory(prefix="enginesmith-bisect-") as folder:
        first: list[int] = []
        tell(Event(event="start", stage=STAGE))

        def listen(step: str, nodes: int, tests: int) -> None:
            first[:] = first or [nodes]
            text = f"{nodes} of {first[0]} nodes, {tests} tests: {step}"
            tell(Event(event="progress", stage=STAGE, text=text))

        return reduce_file(path, condition, out, Path(folder), shapes=shapes, limits=limits, listen=listen)


def _diverges(
    folder: Path,
    stages: str | None,
    timeout: float,
    seconds: float | None,
    out: Path,
    store: str | Path | None,
    progress: bool | Listener | None,
) -> list[Divergence]:
    from enginesmith.pipeline.job.divergence import WORKAROUND, find_divergences
    from enginesmith.pipeline.job.workaround import write_recipe
    from enginesmith.pipeline.report.error_path import write

    with listening(progress) as tell:
        tell(Event(event="start", stage=STAGE))

        def listen(text: str) -> None:
            tell(Event(event="progress", stage=STAGE, text=text))

        run = Run.open(folder, Store(store))
        compared = find_divergences(run, stages, timeout, WORKAROUND if seconds is None else seconds, listen)
    for divergence in compared:
        if divergence.workaround:
            divergence.command = write_recipe(run, divergence.workaround, out)
    write(compared, out)
    return compared
