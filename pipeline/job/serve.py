"""Engines at work: what `run`, `bench` and `inspect` do, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.isolated import Died, Isolated, Raised
from enginesmith.converters.core.samples import Pixels
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.converters.graphs.metadata import parse_names
from enginesmith.converters.serving.answers import Answer
from enginesmith.converters.serving.run import RUN, RunOptions
from enginesmith.pipeline.job.engine_file import EngineFile, one_engine
from enginesmith.pipeline.job.shapes import parse_shapes


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
    """A function of the workers on an engine's file, in a process of its own; what it says is kept for the error.

    Raises UserError and ConversionError.
    """
    with tempfile.NamedTemporaryFile(prefix="enginesmith-") as log:
        path = Path(log.name)
        try:
            with Isolated(without_torch=True, log=path) as process:
                return process.call(function, str(engine.file), *arguments, timeout=timeout)
        except Died as death:
            hint = (
                "" if engine.backend == ONNXRUNTIME or "SIG" not in str(death) else "; was it built for this machine?"
            )
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
