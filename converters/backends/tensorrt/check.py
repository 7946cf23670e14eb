"""Which nodes TensorRT refuses: all of them, found by a real parse and a real build of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from enginesmith.compat.checks import problems
from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import infer
from enginesmith.compat.target import Target
from enginesmith.converters.backends.base import BuildRequest, Profile, Rejection
from enginesmith.converters.backends.probe import Refusal, probe_nodes
from enginesmith.converters.backends.scope import label, qualified_op
from enginesmith.converters.backends.tensorrt import session as trt_session
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.stage import Context

if TYPE_CHECKING:
    from enginesmith.converters.backends.tensorrt.backend import TensorRTBackend

FASTEST = 0
"""Builder optimization level of a trial build."""


def check(backend: TensorRTBackend, request: BuildRequest, context: Context) -> list[Finding]:
    """Findings for every node that the product refuses, one for the whole graph where no node fails alone; and for
    every node that it would compute wrongly."""
    predicted = [
        problem.finding for problem in problems(infer(ir.load(request.onnx)), Target(backend.name, backend.version()))
    ]
    remedies = {(found.node, found.op): found.remedy for found in reversed(predicted)}
    found = [
        finding.model_copy(update={"remedy": finding.remedy or remedies.get((finding.node, finding.op), "")})
        for finding in _refused(backend, request, context)
    ]
    return [*found, *(finding for finding in predicted if finding.silent)]


def _refused(backend: TensorRTBackend, request: BuildRequest, context: Context) -> list[Finding]:
    session = backend.session()
    context.progress("parsing")
    with session.log.hushed():
        parsed = trt_session.parse(session, request.onnx)
        if parsed.errors:
            refusals = [_located(error, request.onnx) for error in parsed.errors]
        else:
            config = trt_session.config_for(parsed, request.profile, backend.capability(request.target), FASTEST)
            trt_session.watch(session, config, context)
            if trt_session.build(parsed, config) is not None:
                return []
            refusals = [Refusal("", "", _message(session))]
        del parsed

        def oracle(model: onnx.ModelProto) -> str | None:
            return refusal(backend, request.target, model)

        verdict = probe_nodes(request.onnx, request.profile, oracle, context.progress)
    alone = {(found.node, found.op) for found in verdict.refusals}
    named = [found for found in refusals if found.op and (found.node, found.op) not in alone]
    whole = [] if verdict.refusals or named else refusals
    findings = [_finding(backend, found) for found in (*verdict.refusals, *named, *whole)]
    if verdict.unprobed:
        findings.append(_unprobed(backend, verdict.unprobed))
    return findings


def trial(
    backend: TensorRTBackend, path: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]
) -> Rejection | None:
    """Why the product doesn't take a whole graph, None if it does."""
    session = backend.session()
    with session.log.hushed():
        parsed = trt_session.parse(session, path)
        if parsed.errors:
            found = _located(parsed.errors[0], path)
            return Rejection(step="parse", message=trt_session.plain(found.message), node=found.node, op=found.op)
        try:
            config = trt_session.config_for(parsed, profile, backend.capability(target), FASTEST, values)
        except UserError as error:
            return Rejection(step="build", message=str(error))
        if trt_session.build(parsed, config) is None:
            return Rejection(step="build", message=trt_session.plain(_message(session)))
    return None


def refusal(backend: TensorRTBackend, target: str, model: onnx.ModelProto) -> str | None:
    """Why the product refuses a small static model, None if it builds, or if it can't be asked that way."""
    session = backend.session()
    parsed = trt_session.parse(session, model)
    if parsed.errors:
        return parsed.errors[0].message
    if any(tensor.is_shape_tensor for tensor in parsed.inputs):
        # Shapes given by an input need a range of values, which nothing here can know.
        return None
    config = trt_session.config_for(parsed, {}, backend.capability(target), FASTEST)
    return None if trt_session.build(parsed, config) is not None else _message(session)


def _located(error: trt_session.ParseError, path: Path) -> Refusal:
    """The parser's error with the node's name as probes have it: the parser leaves out domains and first outputs."""
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    if 0 <= error.index < len(nodes) and nodes[error.index].op_type == error.op:
        return Refusal(label(nodes[error.index]), qualified_op(nodes[error.index]), error.message)
    return Refusal(error.node, error.op, error.message)


def _message(session: trt_session.Session) -> str:
    return session.log.errors[-1] if session.log.errors else "the build failed and gave no reason"


def _finding(backend: TensorRTBackend, found: Refusal) -> Finding:
    return Finding(
        severity="error",
        op=found.op,
        node=found.node,
        backend=backend.name,
        versions=backend.version(),
        message=trt_session.plain(found.message),
        remedy="provide the plugin, or express it in standard operators before the export" if "::" in found.op else "",
    )


def _unprobed(backend: TensorRTBackend, nodes: list[str]) -> Finding:
    some = ", ".join(nodes[:5]) + (", …" if len(nodes) > 5 else "")
    return Finding(
        severity="info",
        op="",
        node="",
        backend=backend.name,
        versions=backend.version(),
        message=f"{len(nodes)} nodes could not be checked one by one, since their inputs' types are unknown: {some}",
        remedy="simplify the graph first, with static shapes",
    )
