"""Which nodes TensorRT refuses: all of them, found by a real parse and a real build of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from enginesmith.compat.checks import problems
from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import infer
from enginesmith.compat.target import Target
from enginesmith.converters.backends.base import BuildRequest, Profile, Rejection
from enginesmith.converters.backends.probe import Refusal, probe_nodes
from enginesmith.converters.backends.scope import label, qualified_op
from enginesmith.converters.backends.tensorrt.progress import watch
from enginesmith.converters.backends.tensorrt.session import (
    ParseError,
    Session,
    build,
    config_for,
    parse,
    plain,
)
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.stage import Context

LAYER = re.compile(r"\bname=(?P<layer>[^\s,()]+)")
"""How Myelin's messages name a layer, which has the name of its node."""
FASTEST = 0
"""Builder optimization level of a trial build."""


def check(session: Session, rules: Target, request: BuildRequest, context: Context) -> list[Finding]:
    """Findings for every node that the product refuses, one for the whole graph where no node fails alone; and for
    every node that it would compute wrongly, by the `rules`."""
    predicted = [problem.finding for problem in problems(infer(ir.load(request.onnx)), rules)]
    # What is only worth knowing of a node has a remedy of its own, which mends no refusal.
    refused = [found for found in predicted if found.severity == "error"]
    remedies = {(found.node, found.op): found.remedy for found in reversed(refused)}
    found = [
        finding.model_copy(update={"remedy": finding.remedy or remedies.get((finding.node, finding.op), "")})
        for finding in _refused(session, rules, request, context)
    ]
    return [*found, *(finding for finding in predicted if finding.silent)]


def _refused(session: Session, rules: Target, request: BuildRequest, context: Context) -> list[Finding]:
    context.progress("parsing")
    with session.log.hushed():
        parsed = parse(session, request.onnx)
        if parsed.errors:
            refusals = [_located(error, request.onnx) for error in parsed.errors]
        else:
            config = config_for(
                parsed, request.profile, request.target, FASTEST, {**request.observed, **request.values}
            )
            watch(session, config, context)
            if build(parsed, config) is not None:
                return []
            refusals = [_blamed(_message(session), request.onnx)]
        del parsed

        def oracle(model: onnx.ModelProto) -> str | None:
            return refusal(session, request.target, model)

        verdict = probe_nodes(request.onnx, request.profile, oracle, context.progress)
    alone = {(found.node, found.op) for found in verdict.refusals}
    named = [found for found in refusals if found.op and (found.node, found.op) not in alone]
    whole = [] if verdict.refusals or named else refusals
    findings = [_finding(rules, found) for found in (*verdict.refusals, *named, *whole)]
    if verdict.unprobed:
        findings.append(_unprobed(rules, verdict.unprobed))
    return findings


def rejected(session: Session, path: Path) -> Rejection | None:
    """Why the product's parser doesn't take a whole graph, None if it does."""
    with session.log.hushed():
        return _rejection(parse(session, path).errors, path)


def trial(
    session: Session, path: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]
) -> Rejection | None:
    """Why the product doesn't take a whole graph, None if it does."""
    with session.log.hushed():
        parsed = parse(session, path)
        if (rejection := _rejection(parsed.errors, path)) is not None:
            return rejection
        try:
            config = config_for(parsed, profile, target, FASTEST, {name: (each,) * 3 for name, each in values.items()})
        except UserError as error:
            return Rejection(step="build", message=str(error))
        if build(parsed, config) is None:
            return Rejection(step="build", message=plain(_message(session)))
    return None


def _rejection(errors: Sequence[ParseError], path: Path) -> Rejection | None:
    if not errors:
        return None
    found = _located(errors[0], path)
    return Rejection(step="parse", message=plain(found.message), node=found.node, op=found.op)


def refusal(session: Session, target: str, model: onnx.ModelProto) -> str | None:
    """Why the product refuses a small static model, None if it builds, or if it can't be asked that way."""
    parsed = parse(session, model)
    if parsed.errors:
        return parsed.errors[0].message
    if any(tensor.is_shape_tensor for tensor in parsed.inputs):
        # Shapes given by an input need a range of values, which nothing here can know.
        return None
    config = config_for(parsed, {}, target, FASTEST)
    return None if build(parsed, config) is not None else _message(session)


def _located(error: ParseError, path: Path) -> Refusal:
    """The parser's error with the node's name as probes have it: the parser leaves out domains and first outputs."""
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    if 0 <= error.index < len(nodes) and nodes[error.index].op_type == error.op:
        return Refusal(label(nodes[error.index]), qualified_op(nodes[error.index]), error.message)
    return Refusal(error.node, error.op, error.message)


def _blamed(message: str, path: Path) -> Refusal:
    """The builder's message with the node whose layer it names, as the compiler of fused layers does; with none where it doesn't."""
    named = {match["layer"] for match in LAYER.finditer(message)}
    nodes = [node for node in onnx.load(str(path), load_external_data=False).graph.node if node.name in named]
    return Refusal(label(nodes[0]), qualified_op(nodes[0]), message) if len(nodes) == 1 else Refusal("", "", message)


def _message(session: Session) -> str:
    return session.log.errors[-1] if session.log.errors else "the build failed and gave no reason"


def _finding(rules: Target, found: Refusal) -> Finding:
    return Finding(
        severity="error",
        op=found.op,
        node=found.node,
        backend=rules.backend,
        versions=rules.version,
        message=plain(found.message),
        remedy="provide the plugin, or express it in standard operators before the export" if "::" in found.op else "",
    )


def _unprobed(rules: Target, nodes: list[str]) -> Finding:
    some = ", ".join(nodes[:5]) + (", …" if len(nodes) > 5 else "")
    return Finding(
        severity="info",
        op="",
        node="",
        backend=rules.backend,
        versions=rules.version,
        message=f"{len(nodes)} nodes could not be checked one by one, since their inputs' types are unknown: {some}",
        remedy="simplify the graph first, with static shapes",
    )
