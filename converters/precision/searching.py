"""The stage behind `--precision auto`: a search for the fastest mix of precisions within a budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from enginesmith.converters.precision.accuracy import measured, open_evaluator
from enginesmith.converters.precision.calibrate import DataOptions
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.mix import apply, write
from enginesmith.converters.precision.stage import lowered_facts
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage


class SearchOptions(Options):
    """`budget` in units of the metric, `seconds` to spend, `target` for the latency's estimate."""

    evaluation: DataOptions
    metric: str
    budget: float
    target: str
    seconds: float
    int8: Int8Options


class SearchMix(Stage[SearchOptions]):
    """The artifact is the best mix's graph and stand-in, as the stage `precision` leaves them. Ctrl-C takes the best so
    far.
    """

    name = "search"
    options = SearchOptions
    packages = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "ml-dtypes", "pillow")
    interruptible = True
