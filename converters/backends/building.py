"""An engine at once, where the backend takes the graph; where it refuses it, the graph is repaired and built again.

A backend that accepts a graph is asked once, by the build itself: a check beside it would parse and build the same network.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from enginesmith.compat.findings import Attempted, Finding
from enginesmith.converters.backends.base import Backend, BuildRequest
from enginesmith.converters.backends.cutting import BARRIER, cut
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.records import EngineInfo, RepairReport
from enginesmith.converters.core.samples import Feed
from enginesmith.converters.core.stage import Context

REPAIR_PACKAGES = ("onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "polygraphy")
"""Distributions that a repair and its proof depend on."""


@dataclass(frozen=True)
class Built:
    """An engine, the graph that it was built from, and what the backend has against the graph that was given, or what is
    left of that after workarounds.
    """

    engine: EngineInfo
    onnx: Path
    findings: list[Finding]
    report: RepairReport = field(default_factory=RepairReport)
    fixed: bool = False
    """The graph takes the profile's optimum alone, as an engine of a backend of static shapes does."""
    around: RepairReport = field(default_factory=RepairReport)
    """The workarounds of what the backend is known to compute wrongly."""

    @property
    def attempts(self) -> list[Attempted]:
        return [*self.around.attempts, *self.report.attempts]

    @property
    def changed(self) -> bool:
        """Was the engine built from another graph than the one given?"""
        return bool(self.around.made or self.report.made)

    @property
    def told(self) -> str:
        """In a few words, which workarounds and repairs were made; empty where none was needed."""
        around, made = (Counter(attempt.repair for attempt in report.made) for report in (self.around, self.report))
        cuts = made.pop(BARRIER, 0)
        at = " at fixed sizes" if self.fixed else ""
        parts = [f"worked around {', '.join(around)}"] if around else []
        parts += [f"repaired {_nodes(len(_errors(self.findings)))}{at}: {', '.join(made)}"] if made else []
        parts += [f"kept from a fusion that fails by {cuts} barrier{'s' if cuts > 1 else ''}"] if cuts else []
        return "; ".join(parts)


def build(
    backend: Backend,
    request: BuildRequest,
    context: Context,
    feeds: Sequence[Feed],
    repaired: Path | None,
    around: Path | None = None,
) -> Built:
    """Build the engine that is asked for. `repaired` is the file for a graph that had to be repaired, which is proved on
    `feeds` beside generated inputs; None forbids repairs. `around` is the file for a graph in which known miscompilations were
    worked around; None: they are found, and no more.

    Raises ConversionError with a finding for every node that is refused and that no repair could mend.
    """
    if around is None:
        return _built(backend, request, context, feeds, repaired)
    report, current = _worked_around(backend, request, context, feeds)
    built = _built(backend, current, context, feeds, repaired)
    if built.onnx == current.onnx != request.onnx:  # scratch, which is not kept
        import onnx_ir as ir

        from enginesmith.compat.saving import save

        save(ir.load(current.onnx), around)
        built = replace(built, onnx=around)
    return replace(built, around=report)


def _worked_around(
    backend: Backend, request: BuildRequest, context: Context, feeds: Sequence[Feed]
) -> tuple[RepairReport, BuildRequest]:
    """What was done about known miscompilations, and the request for what came of it."""
    from enginesmith.converters.graphs.repair import work_around

    context.progress("looking for known miscompilations")
    file = context.scratch / "around.onnx"
    report = work_around(request.onnx, file, backend.rules(request.target), feeds)
    if not report.made:
        return report, request
    if report.refuted:
        context.warn(f"the workarounds were taken back: {report.proof.reason if report.proof else ''}")
        return RepairReport(left=report.left), request
    return report, replace(request, onnx=file)


def _built(
    backend: Backend, request: BuildRequest, context: Context, feeds: Sequence[Feed], repaired: Path | None
) -> Built:
    tried = _attempt(backend, request, context, repaired)
    if tried.engine is not None and tried.cuts and repaired is not None:
        return Built(tried.engine, repaired, tried.findings, RepairReport(attempts=tried.cuts))
    if tried.engine is not None:
        return Built(tried.engine, request.onnx, tried.findings)
    from enginesmith.converters.graphs.repair import name_repairs

    findings = name_repairs(request.onnx, backend.rules(request.target), tried.findings)
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
    last, cut_file = _Tried(None, findings), context.scratch / "cut.onnx"

    def ask(onnx: Path) -> list[Finding]:
        if onnx == request.onnx:
            return findings  # it was asked already
        nonlocal last
        last = _attempt(backend, replace(request, onnx=onnx), context, cut_file)
        return last.findings

    report = repair_file(request.onnx, repaired, backend.rules(request.target), ask, feeds, progress=context.progress)
    if last.engine is None:
        raise _refused(backend.name, _errors(report.left), report.left, report)
    if last.cuts:
        shutil.move(cut_file, repaired)
        report.attempts += last.cuts
    return Built(last.engine, repaired, findings, report)


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
    tried = _attempt(backend, here, context, None)
    if tried.engine is not None:
        return Built(tried.engine, sized, tried.findings, fixed=True)
    fitting = [feed for feed in feeds if all(feed[name].shape == tuple(shape) for name, shape in sizes.items())]
    return replace(_mended(backend, here, context, fitting, repaired, tried.findings), fixed=True)


@dataclass(frozen=True)
class _Tried:
    """`engine` is None where the graph is refused; `cuts` are the barriers without which it is not built."""

    engine: EngineInfo | None
    findings: list[Finding]
    cuts: list[Attempted] = field(default_factory=list)


def _attempt(backend: Backend, request: BuildRequest, context: Context, cut_file: Path | None) -> _Tried:
    """An engine of the graph, or of that with barriers, which is then `cut_file`; None forbids those."""
    import onnx_ir as ir

    from enginesmith.compat.checks import findings, silent

    graph = ir.load(request.onnx)
    wrong = silent(graph, backend.rules(request.target))
    if _errors(wrong):  # it would be built, and compute something else
        found = backend.check(request, context)
        return _Tried(None, [*found, *(finding for finding in wrong if finding not in found)])
    try:
        return _Tried(backend.build(request, context), wrong)
    except ConversionError as error:
        # a backend that names no node may fail by one that the rules know
        refused = error.findings if _errors(error.findings) else list(findings(graph, backend.rules(request.target)))
        whole = backend.cuttable(error) and not any(finding.op for finding in _errors(refused))
        if cut_file is not None and whole and (cuts := cut(backend, request, context, cut_file)):
            return _Tried(backend.build(replace(request, onnx=cut_file), context), wrong, cuts)
        if _errors(refused):
            return _Tried(None, refused)
        raise


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
