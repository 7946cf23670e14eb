"""Does the backend take the graph? Its own parser and a trial build say so, for every node; what it refuses is repaired.

The artifact holds the repaired graph; it is empty when nothing had to be repaired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.profile import profile_of
from enginesmith.converters.errors import ConversionError
from enginesmith.converters.graph import describe
from enginesmith.converters.inputs import listed_shapes
from enginesmith.converters.records import RepairReport
from enginesmith.converters.samples import SampleSet
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage


class CheckOptions(Options):
    """`repair` lets the graph be changed; `precision` is the comparison's, of the repaired graph with the one given."""

    backend: str
    target: str
    precision: str = "fp32"
    repair: bool = True
    expected: str = "ONNX Runtime"


class Check(Stage[CheckOptions]):
    """Fails with a finding for every node that the backend refuses and that no repair could mend."""

    name = "check"
    options = CheckOptions
    without_torch = True

    def packages_of(self, options: CheckOptions) -> tuple[str, ...]:
        repair = ("onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "polygraphy") if options.repair else ()
        return (*get_backend(options.backend).packages, *repair)

    def run(self, inputs: Mapping[str, Path], options: CheckOptions, context: Context) -> Facts:
        samples, feeds = SampleSet.load(inputs["samples"])
        backend = get_backend(options.backend)
        profile = profile_of(samples.specs)

        def findings_of(onnx: Path) -> list[Finding]:
            request = BuildRequest(
                onnx=onnx,
                target=options.target,
                profile=profile,
                out=context.scratch,
                shapes=listed_shapes(samples.specs),
            )
            return backend.check(request, context)

        onnx = inputs["model"] / MODEL
        findings = findings_of(onnx)
        refused = _errors(findings)
        if not refused:
            return Facts(findings=findings, note=f"{describe(onnx).nodes} nodes accepted")
        if not options.repair:
            raise _refused(options.backend, refused, findings)
        from enginesmith.compat.target import Target
        from enginesmith.converters.compare import compare_graph
        from enginesmith.converters.repair import repair_file

        context.progress(f"repairing {_listed(refused)}")
        out = context.out / MODEL
        target = Target(options.backend, backend.version())
        report = repair_file(onnx, out, target, findings_of, feeds, progress=context.progress)
        left = _errors(report.left)
        if left or not report.made:
            raise _refused(options.backend, left or refused, report.left, report)
        comparison = compare_graph(
            out, inputs["samples"], inputs["expected"], options.expected, options.precision, context
        )
        made = Counter(attempt.repair for attempt in report.made)
        facts = describe(out)
        return facts.model_copy(
            update={
                "findings": findings,
                "repairs": report.attempts,
                "comparison": comparison,
                "note": f"repaired {_nodes(len(refused))}: {', '.join(made)}",
            }
        )


def accepted(inputs: Mapping[str, Path]) -> Path:
    """The graph to build from: the one that the check repaired, or else the model's."""
    repaired = inputs["checked"] / MODEL
    return repaired if repaired.exists() else inputs["model"] / MODEL


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _listed(refused: Sequence[Finding]) -> str:
    counts = Counter(finding.op or "the graph" for finding in refused)
    return ", ".join(f"{op} ({count})" if count > 1 else op for op, count in counts.most_common(8))


def _refused(
    backend: str, refused: Sequence[Finding], findings: list[Finding], report: RepairReport | None = None
) -> ConversionError:
    tried = f"; {len(report.made)} repairs were made, and these are left" if report and report.made else ""
    message = (
        f"{backend} refuses {_nodes(len(refused))}: {_listed(refused)}{tried}"
        if any(finding.op for finding in refused)
        else refused[0].message
    )
    return ConversionError(message, refused[0].remedy, findings, report.attempts if report else [])


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
