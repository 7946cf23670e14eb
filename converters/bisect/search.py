"""Reduce the model in a file by a condition, and save what is left as a file of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pydantic import BaseModel

from enginesmith.converters.bisect import files
from enginesmith.converters.bisect.conditions import Condition
from enginesmith.converters.bisect.judge import Failure, Judge, OutOfTime
from enginesmith.converters.bisect.reduce import Reducer, count
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.inputs import InputSpec

MADE_BY = "enginesmith bisect"


class Reduction(BaseModel):
    """What a search found. Without a `failure` the model passes, and there is no file."""

    source: str
    condition: str
    failure: Failure | None = None
    file: str = ""
    nodes_before: int = 0
    nodes_after: int = 0
    ops: dict[str, int] = {}
    """Operators of what is left."""
    names: list[str] = []
    """Names of the nodes that are left, as they are in the source."""
    size: int = 0
    """Bytes of the file, its external data included."""
    tests: int = 0
    seconds: float = 0.0
    finished: bool = True
    """False when the time or Ctrl-C ended the search: a smaller model may exist."""
    confirmed: bool = False
    """The saved file was tested once more, and fails alike. False points to a failure that comes and goes."""
    runs: bool = False
    """ONNX Runtime runs it on made-up inputs."""
    note: str = ""


@dataclass(frozen=True)
class Limits:
    """`timeout`: seconds for one test; `seconds`: for the search. `any_failure`: a candidate may fail in another way.
    `memory`: bytes that a test may use, 0 for any amount."""

    timeout: float = 120.0
    seconds: float = float("inf")
    any_failure: bool = False
    memory: int = 0


def reduce_file(
    path: Path,
    condition: Condition,
    out: Path,
    folder: Path,
    *,
    shapes: Sequence[InputSpec] = (),
    limits: Limits | None = None,
    listen: Callable[[str, int, int], None] = lambda step, nodes, tests: None,
) -> Reduction:
    """Reduce the model at `path` and save the result as `out`. `folder` is for candidates. `shapes` are those of the
    model's inputs; dynamic ones are taken at their optimum unless it fails only with the whole range.

    `listen` gets what is being tried, the nodes of the best model so far and the tests made. Raises UserError for a file
    that is no model, and for a condition that can't be asked of it.
    """
    limits = limits or Limits()
    started = time.monotonic()
    model = files.read(path, limits.memory)
    result = Reduction(source=str(path), condition=condition.text, nodes_before=count(model))
    fixed = fix_sizes(model, shapes, needed=condition.needs_sizes)
    ranges = {spec.name: (spec.min, spec.opt, spec.max) for spec in shapes if spec.dynamic}
    doing, nodes = "the whole model", result.nodes_before

    def tell() -> None:
        listen(doing, nodes, judge.tests)

    def step(name: str, left: int) -> None:
        nonlocal doing, nodes
        doing, nodes = name, left
        tell()

    with Judge(
        condition,
        folder,
        profile=ranges,
        timeout=limits.timeout,
        seconds=limits.seconds,
        any_failure=limits.any_failure,
        memory=limits.memory,
        tested=tell,
    ) as judge:
        tell()
        whole = path
        if fixed is not None and not ranges:
            whole = folder / "whole.onnx"
            files.write(fixed, whole)
        try:
            result.failure = judge.first(whole)
            if result.failure is None:
                result.seconds = time.monotonic() - started
                return result
            start = next((m for m in (fixed, model) if m is not None and judge.settle(m)), None)
        except OutOfTime:
            raise UserError(f"{limits.seconds:g} s are not enough to test the whole model; give more --time") from None
        if start is None:
            result.note = (
                "the failure is gone once the file is read and written again with its nodes sorted: "
                "it is in how the file is written, not in a node"
            )
            result.failure, result.seconds = None, time.monotonic() - started
            return result
        reducer = Reducer(start, judge, step)
        result.finished = reducer.run()
        judge.deadline = float("inf")
        _save(reducer.best, result, out)
        result.confirmed = judge.confirms(out)
        result.runs = judge.runs(reducer.best)
        result.tests = judge.tests
    result.seconds = time.monotonic() - started
    return result


def fix_sizes(model: ir.Model, shapes: Sequence[InputSpec], *, needed: bool) -> ir.Model | None:
    """A copy with its dynamic inputs at the optimum of `shapes`; None where nothing is to be changed.

    With `needed`, a first dimension that is given nowhere becomes 1. Raises UserError for an unknown input, a shape that
    doesn't fit, and another dimension without a size.
    """
    changed = model.clone()
    inputs = {str(v.name): v for v in changed.graph.inputs if v.name not in changed.graph.initializers}
    given = {spec.name: spec for spec in shapes}
    if "" in given and len(inputs) == 1:
        given = {next(iter(inputs)): given[""]}
    for name in given:
        if name not in inputs:
            wrong = f"has no input {name!r}" if name else "doesn't have one input, so that each needs its name"
            raise UserError(f"the model {wrong}; it has {', '.join(inputs) or 'none'}")
    any_changed = False
    for name, value in inputs.items():
        sizes = _sizes(value, given.get(name), needed)
        if sizes is not None:
            value.shape = ir.Shape(sizes)
            any_changed = True
    if not any_changed:
        return None
    for node in changed.graph.all_nodes():  # inferred for other sizes
        for out in node.outputs:
            out.shape = None
    return changed


def _sizes(value: ir.Value, spec: InputSpec | None, needed: bool) -> list[int] | None:
    """New sizes for an input; None where it keeps its own."""
    if not isinstance(value.type, ir.TensorType) or (spec is None and value.shape is None and not needed):
        return None
    if value.shape is not None and value.shape.is_static() and spec is None:
        return None
    if spec is None:
        dims: list[Any] = list(value.shape) if value.shape is not None else []
        if value.shape is None or any(not isinstance(size, int) for size in dims[1:]):
            if not needed:
                return None
            written = "x".join(str(size) for size in dims) or "unknown"
            raise UserError(
                f"input {value.name} has dynamic dimensions ({written}); give its shape, as in --shape {value.name}:1x3x224x224"
            )
        return [1, *dims[1:]] if needed else None
    fits = value.shape is None or (
        len(value.shape) == len(spec.dims)
        and all(not isinstance(old, int) or old == new for old, new in zip(value.shape, spec.opt, strict=True))
    )
    if not fits:
        raise UserError(f"the shape given for {value.name} doesn't fit the model's {value.shape}")
    if value.shape is not None and value.shape.is_static():
        return None
    return list(spec.opt)


def _save(model: ir.Model, result: Reduction, out: Path) -> None:
    """Write the model with its origin, and fill in what there is to say about it."""
    assert result.failure is not None
    saved = model.clone()
    saved.producer_name = MADE_BY
    saved.graph.name = saved.graph.name or "reduced"
    source = Path(result.source)
    nodes = list(saved.graph.all_nodes())
    result.nodes_after = count(saved)
    result.ops = dict(Counter(f"{node.domain}::{node.op_type}".removeprefix("::") for node in nodes).most_common())
    result.names = [node.name or str(node.outputs[0].name) for node in nodes]
    saved.metadata_props.update(
        {
            "enginesmith.source": source.name,
            "enginesmith.source_sha256": hash_file(source),
            "enginesmith.condition": result.condition,
            "enginesmith.failure": f"{result.failure.step}: {result.failure.message}",
            "enginesmith.nodes": f"{result.nodes_after} of {result.nodes_before}",
        }
    )
    files.write(saved, out)
    data = out.with_name(f"{out.name}.data")
    result.file = str(out)
    result.size = out.stat().st_size + (data.stat().st_size if data.exists() else 0)
