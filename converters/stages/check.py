"""Does the backend take the graph? Its own parser and a trial build say so, for every node; what it refuses is repaired.

The artifact holds the repaired graph; it is empty when nothing had to be repaired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.profile import profile_of
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.facts import ComparedFacts, GraphFacts
from enginesmith.converters.core.inputs import listed_shapes
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import AUTO, Recipe
from enginesmith.converters.core.records import RepairReport
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.graphs.describe import describe


class CheckOptions(Options):
    """`repair` lets the graph be changed; `precision` is the comparison's, of the repaired graph with the one given."""

    backend: str
    target: str
    precision: str = "fp32"
    repair: bool = True
    expected: str = "ONNX Runtime"


class CheckFacts(GraphFacts, ComparedFacts):
    """Of the repaired graph, where one was made."""


class Check(Stage[CheckOptions]):
    """Fails with a finding for every node that the backend refuses and that no repair could mend."""

    name = "check"
    options = CheckOptions
    facts = CheckFacts
    without_torch = True

    def packages_of(self, options: CheckOptions) -> tuple[str, ...]:
        repair = ("onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "polygraphy") if options.repair else ()
        return (*get_backend(options.backend).packages, *repair)

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        backend, target = so_far.branch.backend, so_far.branch.target
        options = CheckOptions(
            backend=backend,
            target=target,
            precision="int8" if recipe.precision == AUTO else recipe.precision,
            repair=recipe.repair,
            expected=so_far.expected_label,
        )
        needs = so_far.needs("model", "samples", "expected")
        id = f"{self.name} {so_far.branch.name}"
        yield PlannedStage(id, self.name, options, needs=needs, after=so_far.after, backend=backend, target=target)
        so_far.roles["checked"] = id

    def run(self, inputs: Mapping[str, Path], options: CheckOptions, context: Context) -> CheckFacts:
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
            return CheckFacts(findings=findings, note=f"{describe(onnx).nodes} nodes accepted")
        from enginesmith.compat.target import Target
        from enginesmith.converters.graphs.comparison import compare_graph
        from enginesmith.converters.graphs.repair import name_repairs, repair_file

        target = Target(options.backend, backend.version())
        findings = name_repairs(onnx, target, findings)
        refused = _errors(findings)
        if not options.repair:
            raise _refused(options.backend, refused, findings)
        context.progress(f"repairing {_listed(refused)}")
        out = context.out / MODEL
        report = repair_file(onnx, out, target, findings_of, feeds, progress=context.progress)
        left = _errors(report.left)
        if left or not report.made:
            raise _refused(options.backend, left or refused, report.left, report)
        comparison = compare_graph(
            out, inputs["samples"], inputs["expected"], options.expected, options.precision, context
        )
        made = Counter(attempt.repair for attempt in report.made)
        return CheckFacts(
            **{
                **dict(describe(out)),
                "findings": findings,
                "repairs": report.attempts,
                "comparison": comparison,
                "note": f"repaired {_nodes(len(refused))}: {', '.join(made)}",
            }
        )


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
