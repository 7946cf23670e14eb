"""An engine at once, where the backend takes the graph; where it refuses it, the graph is repaired and built again.

A backend that accepts a graph is asked once, by the build itself: a check beside it would parse and build the same network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends.base import Backend, BuildRequest
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.records import EngineInfo, RepairReport
from enginesmith.converters.core.samples import Feed
from enginesmith.converters.core.stage import Context

REPAIR_PACKAGES = ("onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "polygraphy")
"""Distributions that a repair and its proof depend on."""


@dataclass(frozen=True)
class Built:
    """An engine, the graph that it was built from, and what the backend has against the graph that was given."""

    engine: EngineInfo
    onnx: Path
    findings: list[Finding]
    report: RepairReport = field(default_factory=RepairReport)
    fixed: bool = False
    """The graph takes the profile's optimum alone, as an engine of a backend of static shapes does."""

    @property
    def told(self) -> str:
        """In a few words, which repairs were made; empty where none was needed."""
        made = Counter(attempt.repair for attempt in self.report.made)
        at = " at fixed sizes" if self.fixed else ""
        return f"repaired {_nodes(len(_errors(self.findings)))}{at}: {', '.join(made)}" if made else ""


def build(
    backend: Backend, request: BuildRequest, context: Context, feeds: Sequence[Feed], repaired: Path | None
) -> Built:
    """Build the engine that is asked for. `repaired` is the file for a graph that had to be repaired, which is proved on
    `feeds` beside generated inputs; None forbids repairs.

    Raises ConversionError with a finding for every node that is refused and that no repair could mend.
    """
    engine, findings = _attempt(backend, request, context)
    if engine is not None:
        return Built(engine, request.onnx, findings)
    from enginesmith.converters.graphs.repair import name_repairs

    findings = name_repairs(request.onnx, backend.rules(), findings)
    refused = _errors(findings)
    if repaired is None:
        raise _refused(backend.name, refused, findings)
    try:
        return _mended(backend, request, context, feeds, repaired, findings)
    except ConversionError as error:
        if backend.dynamic_shapes or not request.profile or request.shapes:
            raise
        try:
            return _at_optimum(backend, request, context, feeds, repaired)
        except ConversionError:
            raise error from None  # whose nodes are those of the graph as it was given


def _mended(
    backend: Backend,
    request: BuildRequest,
    context: Context,
    feeds: Sequence[Feed],
    repaired: Path,
    findings: list[Finding],
) -> Built:
    """From the graph, of which `findings` tell what is refused, after repairs. Raises ConversionError as `build` does."""
    from enginesmith.converters.graphs.repair import repair_file

    context.progress(f"repairing {_listed(_errors(findings))}")
    engines: list[EngineInfo | None] = []

    def ask(onnx: Path) -> list[Finding]:
        if onnx == request.onnx:
            return findings  # it was asked already
        engine, left = _attempt(backend, replace(request, onnx=onnx), context)
        engines.append(engine)
        return left

    report = repair_file(request.onnx, repaired, backend.rules(), ask, feeds, progress=context.progress)
    if not engines or engines[-1] is None:
        raise _refused(backend.name, _errors(report.left), report.left, report)
    return Built(engines[-1], repaired, findings, report)


def _at_optimum(
    backend: Backend, request: BuildRequest, context: Context, feeds: Sequence[Feed], repaired: Path
) -> Built:
    """From the graph with the optimum written into it, which is all that the engine takes: many a repair needs to know the sizes."""
    from enginesmith.converters.graphs.sized import write_sized

    context.progress("writing the optimum's sizes into the graph")
    sizes = {name: optimum for name, (_, optimum, _) in request.profile.items()}
    sized = context.scratch / "sized.onnx"
    write_sized(request.onnx, sized, sizes)
    here = replace(request, onnx=sized)
    engine, findings = _attempt(backend, here, context)
    if engine is not None:
        return Built(engine, sized, findings, fixed=True)
    fitting = [feed for feed in feeds if all(feed[name].shape == tuple(shape) for name, shape in sizes.items())]
    return replace(_mended(backend, here, context, fitting, repaired, findings), fixed=True)


def _attempt(backend: Backend, request: BuildRequest, context: Context) -> tuple[EngineInfo | None, list[Finding]]:
    """The engine, None where the graph is refused, and the findings about it."""
    import onnx_ir as ir

    from enginesmith.compat.checks import findings, silent

    graph = ir.load(request.onnx)
    wrong = silent(graph, backend.rules())
    if _errors(wrong):  # it would be built, and compute something else
        found = backend.check(request, context)
        return None, [*found, *(finding for finding in wrong if finding not in found)]
    try:
        return backend.build(request, context), wrong
    except ConversionError as error:
        # a backend that names no node may fail by one that the rules know
        refused = error.findings if _errors(error.findings) else list(findings(graph, backend.rules()))
        if not _errors(refused):
            raise
        return None, refused


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _listed(refused: Sequence[Finding]) -> str:
    counts = Counter(finding.op or "the graph" for finding in refused)
    return ", ".join(f"{op} ({count})" if count > 1 else op for op, count in counts.most_common(8))


def _refused(
    backend: str, refused: Sequence[Finding], findings: list[Finding], report: RepairReport | None = None
) -> ConversionError:
    tried = f"; {len(report.made)} repairs were made, and these are left" if report and report.made else ""
    # What stands in the way of a whole graph's repair is another node than the one that is refused.
    whole = [attempt for attempt in (report.attempts if report else []) if not attempt.node and attempt.proof is None]
    tried += "".join(f"; {attempt.repair} was not made: {attempt.reason}" for attempt in whole)
    message = (
        f"{backend} refuses {_nodes(len(refused))}: {_listed(refused)}{tried}"
        if any(finding.op for finding in refused)
        else refused[0].message
    )
    return ConversionError(message, refused[0].remedy, findings, report.attempts if report else [])


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
