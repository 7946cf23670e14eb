"""What is wrong with an ONNX file for backends and versions that need not be installed.

`size`, `examine`, `ask` and `fix` are called by name in `converters.isolated.Isolated`: their arguments and results are JSON,
and a file that brings them down is one more finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from enginesmith.compat.findings import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

    from enginesmith.compat.target import Target

Verdict = Literal["predicted", "confirmed", "not confirmed", "missed", "failed"]
"""`predicted`: by a rule, and no backend is here to ask. `confirmed`, `not confirmed`: it was asked. `missed`: the
backend says so and no rule did. `failed`: of a trial that ended without an answer."""
FAILED_TRIAL = "failed: "
EXAMINE = "enginesmith.converters.backends.examination:examine"
ASK = "enginesmith.converters.backends.examination:ask"
FIX = "enginesmith.converters.backends.examination:fix"
SIZE = "enginesmith.converters.backends.examination:size"


class Examined(BaseModel):
    """A finding, and whether the backend agrees."""

    finding: Finding
    verdict: Verdict = "predicted"
    said: str = ""
    """The backend's own words."""
    accepted_by: str = ""
    """The first other version of the backend whose rules accept the node; empty when there is none, or for RTX and TVM,
    of which one version is known."""


class TargetReport(BaseModel):
    """What is known about a model for one backend and version.

    `trial` is `accepted`, `refused`, says why none was made (`not run: ...`), or why it ended without an answer, for another
    reason than the model's (`failed: ...`): with an error among the findings, for nothing is known then.
    """

    backend: str
    version: str
    gpu: str = ""
    """The compute capability that was asked about; empty for any."""
    trial: str = ""
    note: str = ""
    """Of which version the rules really speak, where the one asked for is not in the tables."""
    findings: list[Examined] = []

    @property
    def failed(self) -> bool:
        """Was a trial made, and did it end without an answer?"""
        return self.trial.startswith(FAILED_TRIAL)

    @property
    def errors(self) -> list[Examined]:
        return [
            found for found in self.findings if found.finding.severity == "error" and found.verdict != "not confirmed"
        ]


class Examination(BaseModel):
    """A model, for every target asked about. `problems` are those of the file itself, whatever the target."""

    path: str
    nodes: int = 0
    opset: int = 0
    problems: list[Finding] = []
    targets: list[TargetReport] = []

    @property
    def clean(self) -> bool:
        broken = any(finding.severity == "error" for finding in self.problems)
        return not broken and not any(target.errors for target in self.targets)


def size(path: str, out: str, given: Sequence[Mapping[str, Any]], memory: int = 0) -> dict[str, Any] | None:
    """Write the sizes that the `InputSpec`s in `given` fix into a copy of the file, as a build does; nothing is written where
    there are none. Returns the profile and the values of the inputs that were given, None for a file that can't be read.

    Raises UserError where they don't fit.
    """
    from enginesmith.compat import loading
    from enginesmith.converters.backends.profile import values_of
    from enginesmith.converters.core.inputs import InputSpec, fixed_sizes, resolve_inputs, specs_by_name
    from enginesmith.converters.graphs.describe import describe
    from enginesmith.converters.graphs.sized import write_sized

    specs = [InputSpec.model_validate(spec) for spec in given]
    if loading.load(Path(path), memory)[0] is None:
        return None
    inputs = describe(Path(path)).inputs
    named = specs_by_name(inputs, specs)
    inputs = [info for info in inputs if info.name in named]
    resolved = resolve_inputs(inputs, specs)
    if sizes := fixed_sizes(inputs, resolved):
        write_sized(Path(path), Path(out), sizes)
    profile = {spec.name: (spec.min, spec.opt, spec.max) for spec in resolved}
    return {"profile": profile, "values": values_of(resolved)}


def examine(path: str, targets: Sequence[Sequence[str]], memory: int = 0) -> dict[str, Any]:
    """Apply the rules of every target (backend, version, and a GPU where one is meant) to the file; the result is an
    `Examination`. `memory` is what the graph's tensors may take, in bytes; 0 for any amount.
    """
    from enginesmith.compat import loading, plugins, support
    from enginesmith.compat.checks import problems, whole
    from enginesmith.compat.graphs import named, opset
    from enginesmith.compat.mending import with_repairs
    from enginesmith.compat.target import Target
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.graphs.value_types import complete

    model, found = loading.load(Path(path), memory)
    examination = Examination(path=path, problems=found)
    if model is None:
        return examination.model_dump()
    named(complete(model))
    examination.nodes = sum(1 for _ in model.graph.all_nodes())
    examination.opset = opset(model)
    for backend, version, *gpu in targets:
        target = Target(get_backend(backend).table, version, *gpu)
        note = support.version_note(target) if target.backend else ""
        report = TargetReport(backend=backend, version=version, gpu=target.gpu, note=note)
        about_nodes = list(problems(model, target))
        said = [*whole(model, target), *(problem.finding for problem in about_nodes)]
        report.findings = [Examined(finding=finding) for finding in with_repairs(model, target, said)]
        for problem, found_here in zip(reversed(about_nodes), reversed(report.findings), strict=False):
            if problem.finding.severity == "error":
                found_here.accepted_by = _accepted_by(problem.node, target)
        examination.targets.append(report)
    examination.problems += [
        Finding(severity="warning", op="", node="", backend="", versions="", message=line)
        for line in plugins.warnings()
    ]
    return examination.model_dump()


def ask(backend: str, path: str, target: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The backend's own findings, with the repairs that would mend them: its parser, a trial build, and a probe of each
    node where they fail."""
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.graphs.repair import name_repairs

    found = _asked(backend, path, target, given)
    named = name_repairs(Path(path), get_backend(backend).rules(), found)
    return [finding.model_dump() for finding in named]


def _asked(backend: str, path: str, target: str, given: Mapping[str, Any]) -> list[Finding]:
    """`given` is what `size` returns, or empty."""
    import tempfile

    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.core.stage import Context

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        request = BuildRequest(Path(path), target, given.get("profile", {}), scratch, values=given.get("values", {}))
        context = Context(out=scratch, scratch=scratch, cache=scratch)
        return get_backend(backend).check(request, context)


def fix(
    backend: str, version: str, path: str, out: str, target: str, given: Mapping[str, Any], inputs: str
) -> dict[str, Any]:
    """Repair the file for one target; the result is a `RepairReport`.

    Nothing is written where the repaired graph is not what the given one was. `target` is empty where the backend isn't here to
    ask. `inputs` is a .npz file with an array for each input, or
    empty. Raises UserError where the model can't be run on these inputs: they would prove nothing.
    """
    from enginesmith.compat.target import Target
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.graphs.repair import repair_file

    def refused(file: Path) -> list[Finding]:
        return _asked(backend, str(file), target, given)

    feeds = [_given(path, inputs)] if inputs else []
    rules = Target(get_backend(backend).table, version)
    report = repair_file(Path(path), Path(out), rules, refused if target else None, feeds)
    if report.refuted:
        Path(out).unlink()
    return report.model_dump()


def _given(path: str, inputs: str) -> dict[str, Any]:
    import zipfile

    import numpy as np
    import onnx

    from enginesmith.converters.core.errors import UserError, first_line
    from enginesmith.converters.graphs.proof import runner

    model = onnx.load(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    names = {value.name for value in model.graph.input} - stored
    try:
        feed = dict(np.load(inputs))
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{inputs} is no .npz file of arrays: {first_line(error)}") from None
    if set(feed) != names:
        raise UserError(f"{inputs} holds {', '.join(sorted(feed))}; the model's inputs are {', '.join(sorted(names))}")
    run = runner(model)
    try:
        run(feed)
    except Exception as error:
        raise UserError(f"the model can't be run on {inputs}: {first_line(error)}") from error
    return feed


def merge(report: TargetReport, asked: Sequence[Finding]) -> None:
    """Hold what the rules predicted against what the backend itself said, in place."""
    asked = [found for found in asked if not found.silent]  # these are the rules' own
    errors = {(found.node, found.op): found for found in asked if found.severity == "error"}
    report.trial = "refused" if errors else "accepted"
    for found in report.findings:
        if found.finding.severity == "error" and not found.finding.silent:
            said = errors.get((found.finding.node, found.finding.op))
            found.verdict = "confirmed" if said else "not confirmed"
            found.said = said.message if said else ""
    predicted = {(found.finding.node, found.finding.op) for found in report.findings}
    report.findings += [
        Examined(finding=finding, verdict="missed" if finding.severity == "error" else "confirmed")
        for finding in asked
        if (finding.node, finding.op) not in predicted
    ]


def _accepted_by(node: ir.Node, target: Target) -> str:
    """The version nearest to the target's that takes the node by all rules; newer ones are asked first."""
    from enginesmith.compat import support
    from enginesmith.compat.checks import accepts
    from enginesmith.compat.target import Target, numbers

    known = support.versions(target.backend)
    newer = [version for version in known if numbers(version) > numbers(target.version)]
    older = [version for version in known if version not in newer]
    order = (*newer, *reversed(older))
    return next((version for version in order if accepts(node, Target(target.backend, version))), "")
