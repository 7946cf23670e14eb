"""Engines at work: what `run`, `bench` and `inspect` do, each in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.isolated import Died, Isolated, Raised
from enginesmith.converters.core.samples import Pixels
from enginesmith.converters.core.timing import spread
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.converters.graphs.metadata import parse_names
from enginesmith.converters.serving.answers import Answer
from enginesmith.converters.serving.bench import AGAINST, KEEP_BUSY, READY, START, Against, Level, Start
from enginesmith.converters.serving.contents import CONTENTS
from enginesmith.converters.serving.feeds import FeedOptions
from enginesmith.converters.serving.run import RUN, RunOptions
from enginesmith.pipeline.job.engine_file import EngineFile, engine_files, one_engine
from enginesmith.pipeline.job.shapes import parse_shapes
from enginesmith.pipeline.job.store import Store

LEAD = 0.2
"""Seconds from the word to the start, for all processes to have heard it."""


def run(
    place: Path,
    inputs: Sequence[Path],
    *,
    backend: str = "",
    pixels: Pixels | None = None,
    shape: str | None = None,
    names: Path | None = None,
    top: int = 5,
    score: float = 0.5,
    save: Path | None = None,
    threads: int | None = None,
    timeout: float = 600.0,
    trust: bool = False,
) -> tuple[EngineFile, list[Answer]]:
    """An engine on files. Raises UserError, and ConversionError where the engine breaks down."""
    engine = one_engine(place, backend, trust=trust)
    model = engine.manifest.model if engine.manifest else None
    known = pixels or (model.pixels if model else None)
    options = RunOptions(
        backend=engine.backend,
        inputs=tuple(inputs),
        pixels=known,
        shape=parse_shapes(shape) if shape else (),
        task=model.task if model else "",
        names=tuple(_names(names) if names else model.names if model else ()),
        top=top,
        score=score,
        save=save,
        threads=threads,
    )
    told = call(engine, RUN, options.model_dump(mode="json"), timeout=timeout)
    return engine, [Answer.model_validate(each) for each in told]


def call(engine: EngineFile, function: str, *arguments: Any, timeout: float) -> Any:
    """A function of the workers on an engine's file, in a process of its own. Raises UserError and ConversionError."""
    with Isolated(without_torch=True) as process:
        return _asked(process, engine, function, arguments, timeout)


def _asked(process: Isolated, engine: EngineFile, function: str, arguments: Sequence[Any], timeout: float) -> Any:
    try:
        return process.call(function, str(engine.file), *arguments, timeout=timeout)
    except Died as death:
        hint = "; was it built for this machine?" if "SIG" in str(death) and engine.backend != ONNXRUNTIME else ""
        raise ConversionError(f"{engine.backend}: {engine.file.name} broke down: {death}{hint}") from None
    except Raised as error:
        raise ConversionError(f"{engine.backend}: {engine.file.name} can't run: {error}") from None


def _names(path: Path) -> list[str]:
    try:
        return parse_names(path.read_text())
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{path} holds no names of classes: give one a line, or a JSON list") from None


class Bench(BaseModel):
    """`against` is None where the engine's graph is not here, and for a graph itself."""

    engine: str
    backend: str
    target: str
    threads: int
    start: Start
    against: Against | None = None
    levels: list[Level] = []
    load_before: float
    load_after: float
    """One-minute load averages of the machine."""
    notes: list[str] = []


def bench(
    place: Path,
    *,
    backend: str = "",
    input: Path | None = None,
    pixels: Pixels | None = None,
    shape: str | None = None,
    batch: int | None = None,
    concurrency: Sequence[int] = (1,),
    seconds: float = 10.0,
    threads: int | None = None,
    timeout: float = 600.0,
    trust: bool = False,
    store: str | None = None,
) -> Bench:
    """Start an engine, time it in turn with ONNX Runtime on its graph, and keep it busy: for each of the levels of `concurrency`
    so many processes, which share the cores. `seconds` are those of each measurement.

    Raises UserError, and ConversionError where the engine breaks down.
    """
    engine = one_engine(place, backend, trust=trust)
    model = engine.manifest.model if engine.manifest else None
    cores = threads or len(os.sched_getaffinity(0))
    options = FeedOptions(
        backend=engine.backend,
        input=input,
        samples=engine.samples(Store(store)),
        pixels=pixels or (model.pixels if model else None),
        task=model.task if model else "tensor",
        shape=parse_shapes(shape) if shape else (),
        batch=batch,
        threads=cores,
    )
    load, notes, told = os.getloadavg()[0], [], options.model_dump(mode="json")
    started = Start.model_validate(call(engine, START, told, timeout=timeout))
    against = None
    if engine.backend == ONNXRUNTIME:
        notes.append("the graph itself: there is nothing to hold it against")
    elif engine.graph is None:
        notes.append("not held against ONNX Runtime: the graph of its build is not here")
    else:
        against = Against.model_validate(
            call(engine, AGAINST, str(engine.graph), told, seconds, timeout=timeout + seconds)
        )
    return Bench(
        engine=str(engine.file),
        backend=engine.backend,
        target=engine.target,
        threads=cores,
        start=started,
        against=against,
        levels=[_level(engine, options, count, seconds, timeout) for count in concurrency],
        load_before=load,
        load_after=os.getloadavg()[0],
        notes=notes,
    )


def _level(engine: EngineFile, options: FeedOptions, count: int, seconds: float, timeout: float) -> Level:
    threads = max((options.threads or 1) // count, 1)
    told = options.model_copy(update={"threads": threads}).model_dump(mode="json")
    with ExitStack() as stack:
        processes = [stack.enter_context(Isolated(without_torch=True)) for _ in range(count)]
        # a process of ours ends with the thread that started it
        pool = stack.enter_context(ThreadPoolExecutor(count))

        def all_of(function: str, *arguments: Any) -> list[Any]:
            asked = [pool.submit(_asked, each, engine, function, arguments, timeout + seconds) for each in processes]
            return [each.result() for each in asked]

        rows = all_of(READY, told)[0]
        times = all_of(KEEP_BUSY, time.time() + LEAD, seconds)
    answers = [each for mine in times for each in mine]
    rate = sum(len(mine) / sum(mine) for mine in times)
    return Level(concurrency=count, threads=threads, per_second=rate * rows, latency=spread(answers))


class Inspection(BaseModel):
    """`contents` is what the file says of itself; the rest what its build said, empty where that is not here."""

    engine: str
    backend: str
    target: str
    size: int
    sha256: str
    runs_here: str
    """`yes`, or why not."""
    contents: dict[str, str]
    model: str = ""
    precision: str = ""
    verified: str = ""
    layers_by_dtype: dict[str, int] = {}
    details: dict[str, str] = {}
    notes: list[str] = []


def inspect(place: Path, *, backend: str = "", timeout: float = 600.0) -> list[Inspection]:
    """What can be read of engines without loading them, nor a GPU. Raises UserError, ConversionError."""
    return [_inspected(engine, timeout) for engine in engine_files(place, backend)]


def _inspected(engine: EngineFile, timeout: float) -> Inspection:
    if not engine.file.is_file():
        raise UserError(f"the engine {engine.file} is not there any more; build again")
    contents = call(engine, CONTENTS, engine.backend, timeout=timeout)
    record, sha256, notes = engine.record, hash_file(engine.file), []
    if record is not None and record.sha256 != sha256:
        notes.append("it is not the file that its build has made: the hash is another one")
    return Inspection(
        engine=str(engine.file),
        backend=engine.backend,
        target=engine.target,
        size=engine.file.stat().st_size,
        sha256=sha256,
        runs_here=engine.blocked(trust=False) or "yes",
        contents=contents,
        model=engine.manifest.model.spec if engine.manifest else "",
        precision=engine.manifest.precision if engine.manifest else "",
        verified=f"{record.verified}: {record.verified_reason}".removesuffix(": ") if record else "",
        layers_by_dtype=record.layers_by_dtype if record else {},
        details=record.details if record else {},
        notes=notes,
    )
