"""Run stages in this process, without plan, store and worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from enginesmith.converters.core.comparisons import Comparison
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.recipe import Consistency
from enginesmith.converters.core.samples import SampleSet, save_results
from enginesmith.converters.core.stage import Context
from enginesmith.converters.data.samples import make_samples
from enginesmith.converters.stages.compare import Compare, CompareOptions
from enginesmith.converters.stages.export import Export, ExportOptions
from enginesmith.converters.stages.import_onnx import ImportOptions, OnnxImport
from enginesmith.converters.stages.simplify import Simplify, SimplifyOptions
from enginesmith.pipeline.job.shapes import parse_shapes


def context(folder: Path) -> Context:
    """`folder` becomes the artifact; the warnings go nowhere."""
    scratch = folder.with_name(f"{folder.name}-scratch")
    folder.mkdir(parents=True)
    scratch.mkdir()
    return Context(out=folder, scratch=scratch, cache=scratch)


def export(folder: Path, ref: str = "", *, path: Path | None = None, shape: str = "", **options: Any) -> Facts:
    """By default a factory in the file `path`."""
    filled = {
        "kind": "factory-file",
        "weights": "auto",
        "trust": False,
        "stock": False,
        "proposals": None,
        "exporter": "auto",
        "opset": 18,
        "samples": 2,
        "seed": 0,
        "task": "auto",
        "sha256": hash_file(path) if path and path.is_file() else "",
        "weights_sha256": "",
    } | options
    specs = parse_shapes(shape) if shape else ()
    return Export().run({}, ExportOptions(ref=ref, path=path, inputs=specs, **filled), context(folder))


def import_onnx(folder: Path, path: Path, shape: str = "", **options: Any) -> Facts:
    filled = {"sha256": hash_file(path) if path.is_file() else "", "samples": 2, "seed": 0, "task": "auto"} | options
    specs = parse_shapes(shape) if shape else ()
    return OnnxImport().run({}, ImportOptions(path=path, inputs=specs, **filled), context(folder))


def compare(
    folder: Path,
    first: Path,
    candidate: Path | None = None,
    judged_by: str = "",
    precision: str = "fp32",
    consistency: Consistency = "quick",
    **more: Path,
) -> Comparison:
    """`candidate` (by default `first`, which also holds the samples) in ONNX Runtime, against the results of `first`."""
    inputs = {"samples": first, "expected": first, "candidate": candidate or first, **more}
    options = CompareOptions(
        backend="onnxruntime", precision=precision, expected="PyTorch", judged_by=judged_by, consistency=consistency
    )
    comparison = Compare().run(inputs, options, context(folder)).comparison
    assert comparison is not None
    return comparison


def simplify(folder: Path, model: Path, shape: str, task: str = "tensor", **options: Any) -> Facts:
    """`model` is a folder with the graph; its samples are made here."""
    samples, feeds = make_samples(parse_shapes(shape), task, 2, 0)
    first = folder.with_name(f"{folder.name}-samples")
    first.mkdir(parents=True)
    samples.save(first, feeds)
    return Simplify().run({"model": model, "samples": first}, SimplifyOptions(**options), context(folder))


def write_samples(
    folder: Path, shape: str, forward: Callable[..., dict[str, np.ndarray]], task: str = "tensor"
) -> Path:
    """An artifact with samples, and `forward`'s outputs for them."""
    samples, feeds = make_samples(parse_shapes(shape), task, 2, 0)
    folder.mkdir(parents=True)
    samples.save(folder, feeds)
    save_results(folder, "numpy", [forward(**feed) for feed in feeds])
    return folder


def load_samples(folder: Path) -> tuple[SampleSet, list[Any]]:
    return SampleSet.load(folder)
