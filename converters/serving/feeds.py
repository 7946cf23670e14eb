"""What an engine is fed where it is timed or packed: a file, a sample of its build, or something made up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array, Feed, Pixels
from enginesmith.converters.serving.runners import as_info, sized, specs_of

if TYPE_CHECKING:
    import onnx
    from polygraphy.backend.base import BaseRunner


class FeedOptions(BaseModel):
    """The first of `input`, a file; `samples`, the folder of a build's; `shape` and `batch` of what is made up."""

    model_config = ConfigDict(frozen=True)

    backend: str
    input: Path | None = None
    samples: Path | None = None
    pixels: Pixels | None = None
    task: str = "tensor"
    shape: tuple[InputSpec, ...] = ()
    batch: int | None = None
    threads: int | None = None

    @property
    def made_up(self) -> bool:
        """Do the sizes that are asked for decide?"""
        return self.input is None and (self.samples is None or bool(self.shape) or self.batch is not None)


def feed_of(runner: BaseRunner, path: Path, options: FeedOptions) -> Feed:
    """As the model takes it, for an active runner. Raises UserError where sizes are open, and for a file that doesn't fit."""
    from enginesmith.converters.core.inputs import resolve_inputs
    from enginesmith.converters.core.samples import SampleSet
    from enginesmith.converters.data.samples import make_samples
    from enginesmith.converters.serving.inputs import listed, read

    if options.samples is not None and not options.made_up and options.input is None:
        return SampleSet.load(options.samples)[1][0]
    specs = sized(specs_of(runner, changed(path, options.backend)), options.shape, options.batch)
    if options.input is not None:
        stretch = options.task == "detection"
        return next(iter(read(listed([options.input]), specs, options.pixels, stretch=stretch))).feed
    specs = resolve_inputs([as_info(spec) for spec in specs], ())
    return make_samples(specs, options.task, 1, 0, pixels=options.pixels or "unknown")[1][0]


def fed(path: Path, backend: str, feed: Feed) -> dict[str, Array]:
    """As the engine takes it."""
    from enginesmith.converters.graphs import interface

    return interface.fed(changed(path, backend), feed)


def changed(path: Path, backend: str) -> onnx.ModelProto | None:
    """The interface of the model where repairs have changed its engine's; None where they haven't."""
    from enginesmith.converters.graphs import interface
    from enginesmith.converters.graphs.comparison import ONNXRUNTIME

    return interface.load(path.parent) if backend != ONNXRUNTIME else None
