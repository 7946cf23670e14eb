"""Two ONNX graphs, tensor by tensor. Runs in an `Isolated` process: arguments and results are JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from enginesmith.converters.bisect import facts, files
from enginesmith.converters.bisect.divergence import Divergence, Figures, layers_of, measure, pair_up, worst_of
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.graphs.onnxruntime import session

COMPARE = f"{__name__}:compare"


def compare(
    expected: str, found: str, samples: str, indices: Sequence[int], scale: float, relative: float
) -> dict[str, Any]:
    """A `Divergence` of the graphs at two paths, on these samples of an artifact's folder. Both run in ONNX Runtime
    without optimizations, every tensor an output. The names of the sides are left to the caller."""
    before, after = files.read(Path(expected)), files.read(Path(found))
    pairs = pair_up(before, after)
    names, feeds = SampleSet.load(Path(samples))
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        sides = [_open(model, Path(folder) / f"{side}.onnx") for side, model in (("before", before), ("after", after))]
        chunks = _chunks(after, set(pairs))
        rows: list[dict[str, Figures]] = []
        for index in indices:
            row: dict[str, Figures] = {}
            for chunk in chunks:
                old = sides[0].run([pairs[name] for name in chunk], dict(feeds[index]))
                new = sides[1].run(chunk, dict(feeds[index]))
                row |= {name: measure(a, b, scale, relative) for name, a, b in zip(chunk, old, new, strict=True)}
            rows.append(row)
    produced = [str(v.name) for node in after.graph for v in node.outputs if v.name]
    return Divergence(
        expected="",
        found="",
        tolerance_scale=scale,
        tolerance_relative=relative,
        samples=[names.samples[index].name for index in indices],
        layers=layers_of(after, worst_of(rows), pairs),
        unmatched=[name for name in produced if name not in pairs],
    ).model_dump()


def _open(model: ir.Model, path: Path) -> Any:
    marked = facts.mark(model)
    files.write(marked[0] if marked else model, path)
    return session(path, optimize=False)


def _chunks(model: ir.Model, names: set[str]) -> list[list[str]]:
    """The tensors to compare, in parts that fit into memory."""
    marked = facts.mark(model)
    parts = [[name for name in chunk if name in names] for chunk in (marked[1] if marked else [])]
    return [part for part in parts if part]
