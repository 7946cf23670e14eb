"""Which nodes TVM's frontend refuses, and which it converts into something else than what ONNX says."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from enginesmith.compat.checks import problems, silent
from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import infer
from enginesmith.compat.target import Target
from enginesmith.compat.walk import proto_nodes
from enginesmith.converters.backends.base import BuildRequest, Profile, Rejection
from enginesmith.converters.backends.probe import probe_nodes
from enginesmith.converters.backends.profile import static_profiles
from enginesmith.converters.backends.scope import label, qualified_op
from enginesmith.converters.backends.tvm.frontend.importer import (
    ImportFailed,
    convert,
    import_onnx,
    optimize,
    plan,
)
from enginesmith.converters.backends.tvm.processors import llvm_target
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import written
from enginesmith.converters.core.stage import Context

WITHOUT_CONVERTER = "TVM's ONNX frontend has no converter for it"


def check(rules: Target, request: BuildRequest, context: Context) -> list[Finding]:
    """Findings for every node without a converter, converted wrongly, or refused when converted alone, at any of the shapes
    asked for: the finding says at which, where it isn't at all of them.
    """
    findings = listed(rules, request.onnx)
    profiles = static_profiles(request)
    first: dict[tuple[str, str], Finding] = {}
    refused: dict[tuple[str, str], list[str]] = defaultdict(list)
    for number, profile in enumerate(profiles):
        at = written({name: optimum for name, (_, optimum, _) in profile.items()})
        context.progress(f"importing the graph at {at}" if len(profiles) > 1 else "importing the graph",
                         number / len(profiles))  # fmt: skip
        for finding in _refused(rules, request, profile, findings, context):
            first.setdefault((finding.op, finding.node), finding)  # TVM's words have the sizes in them
            refused[finding.op, finding.node].append(at)
    return findings + [
        finding if len(refused[key]) == len(profiles) else _at(finding, refused[key]) for key, finding in first.items()
    ]


def _refused(
    rules: Target, request: BuildRequest, profile: Profile, known: list[Finding], context: Context
) -> list[Finding]:
    """What a real import and lowering at one set of shapes refuses, beside what is `known` without it."""
    target = llvm_target(request.target)
    try:
        optimize(import_onnx(request.onnx, profile, request.values).module, target)
    except ImportFailed as error:
        blamed = {finding.node for finding in known if finding.message == WITHOUT_CONVERTER}
        verdict = probe_nodes(request.onnx, profile, lambda model: _refusal(model, target), context.progress)
        remedies = {finding.node: finding.remedy for finding in _ruled(rules, request.onnx)}
        found = [
            _finding(rules, refusal.op, refusal.node, refusal.message, remedies.get(refusal.node, ""))
            for refusal in verdict.refusals
            if refusal.node not in blamed
        ]
        return found or ([] if known else [_finding(rules, "", "", str(error))])
    return []


def _at(finding: Finding, shapes: list[str]) -> Finding:
    """A finding at some of the shapes alone."""
    return finding.model_copy(
        update={"message": f"{finding.message} (at {'; '.join(shapes)}; not at the other shapes)"}
    )


def rejected(onnx: Path) -> Rejection | None:
    """Why the frontend doesn't convert a graph, None if it does."""
    try:
        import_onnx(onnx, {})
    except ImportFailed as error:
        return Rejection(step="parse", message=str(error))
    return None


def trial(rules: Target, onnx: Path, target: str, profile: Profile) -> Rejection | None:
    """Why TVM doesn't take a graph, or would compute something else than it says; None if it does."""
    for finding in listed(rules, onnx):
        return Rejection(step="parse", message=finding.message, node=finding.node, op=finding.op)
    try:
        module = import_onnx(onnx, profile).module
    except (ImportFailed, UserError) as error:
        return Rejection(step="parse", message=str(error))
    try:
        llvm = llvm_target(target)
        plan(optimize(module, llvm), llvm)
    except ImportFailed as error:
        return Rejection(step="build", message=str(error))
    return None


def listed(rules: Target, path: Path) -> list[Finding]:
    """What a look at the graph tells: operators without a converter, and nodes that are converted wrongly."""
    return [*_unconverted(rules, path), *_converted_wrongly(rules, path)]


def _converted_wrongly(rules: Target, path: Path) -> list[Finding]:
    """Nodes that the frontend converts without a word into something that computes another result."""
    return silent(ir.load(path), rules)


def _ruled(rules: Target, path: Path) -> list[Finding]:
    """What our rules say about the nodes: they know remedies, which TVM's own words don't have."""
    model = infer(ir.load(path))
    return [problem.finding for problem in problems(model, rules)]


def _unconverted(rules: Target, path: Path) -> list[Finding]:
    from tvm.relax.frontend.onnx import onnx_frontend

    # The frontend's own test for a refusal (`_check_for_unsupported_ops`), which names each operator only once.
    converted = {*onnx_frontend._get_convert_map(), "If", "Constant"}
    graph = onnx.load(str(path), load_external_data=False).graph
    return [
        _finding(rules, qualified_op(node), label(node), WITHOUT_CONVERTER)
        for node in proto_nodes(graph)
        if node.op_type not in converted
    ]


def _refusal(model: onnx.ModelProto, target: Any) -> str | None:
    """Why TVM refuses a small model, None if it can lower it."""
    try:
        optimize(convert(model), target)
    except ImportFailed as error:
        return str(error)
    return None


def _finding(rules: Target, op: str, node: str, message: str, remedy: str = "") -> Finding:
    if message == WITHOUT_CONVERTER and not remedy:
        remedy = "express it in other standard operators before the export"
    elif "ShapeExpr shape" in message and not remedy:
        # The frontend's words for a tensor without a shape; it doesn't say which.
        remedy = (
            "a tensor's size depends on the data (after NonMaxSuppression, NonZero, ...): write it with fixed sizes"
        )
    return Finding(
        severity="error",
        op=op,
        node=node,
        backend=rules.backend,
        versions=rules.version,
        message=message,
        remedy=remedy,
    )
