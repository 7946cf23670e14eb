"""The roads from a module to an ONNX graph, in the order in which they are tried, until a graph counts: it runs, and computes
what the model does.

An operator that no graph can have ends the search. Else the exporter that is asked for comes first, at the opset that is
asked for. Where its graph fails, the same exporter is asked again at the next opset that has the operator, and without our
decompositions if it had some; then the other exporter; then the dynamo exporter with Python's bytecode analysis. A graph
that runs and differs is kept until a better one is found: the comparison after the export tells how it differs.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from enginesmith.compat.findings import Finding
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.records import Attempt
from enginesmith.converters.core.stage import MODEL, Context
from enginesmith.converters.graphs.trial import Trial
from enginesmith.converters.torch_models.exporters import DYNAMO, Exporter, Road
from enginesmith.converters.torch_models.failures import LACKING, Failure, of_exporter, of_graph

NEWEST = 23
"""The newest opset that is tried where an older one lacks an operator."""
_LACKING = (
    re.compile(r"No Op registered for (?P<op>\w+) with domain_version of \d+"),
    re.compile(r"Unrecognized attribute: (?P<attribute>\w+) for operator (?P<op>\w+)"),
    re.compile(r"Type '(?P<type>tensor\(\w+\))' of \w+ parameter \([^)]{1,200}\) of operator \((?P<op>\w+)\) in node"),
)
"""What ONNX Runtime says of a node that the graph's opset doesn't have, or not in this form."""
_ADDED = re.compile(r"Support for this operator was added in version (?P<opset>\d+)")
"""What TorchScript's exporter says of an operator that it translates at a later opset."""


@dataclass(frozen=True)
class Found:
    """The graph that counts, and how it was come by: the last of the attempts without an error."""

    road: Road
    trial: Trial
    attempts: list[Attempt]


def find_graph(
    exporter: Exporter,
    tools: Mapping[str, str],
    opset: int,
    trial: Callable[[Path, Road], Trial],
    context: Context,
    remedy: str = "",
) -> Found:
    """Write `model.onnx` by the first road whose graph counts by its `trial`. `tools` are the exporters to try, in order;
    each says why it must not be, or nothing; `remedy` is what to do then.

    Where every graph differs, the first of them is left. Raises ConversionError when none runs.
    """
    if all(tools.values()):
        raise ConversionError(next(iter(tools.values())), remedy)
    roads = [Road(tool, opset) for tool in tools]
    attempts: list[Attempt] = []
    failures: dict[Road, Failure] = {}
    kept: tuple[Road, Trial] | None = None
    aside = context.scratch / "differs"
    while roads:
        road = roads.pop(0)
        told = road.told(opset)
        if refused := tools[road.tool]:
            attempts.append(Attempt(tool=told, seconds=0, error=refused))
            continue
        context.progress(f"{told} exporter")
        started = time.monotonic()
        found = _attempt(exporter, road, trial, context.out / MODEL)
        seconds = round(time.monotonic() - started, 2)
        if isinstance(found, Trial) and not found.differs:
            return Found(road, found, [*attempts, Attempt(tool=told, seconds=seconds)])
        failure = found if isinstance(found, Failure) else of_graph(context.out / MODEL, found.differs)
        failures[road] = failure
        if failure.final:
            raise _none({road: failure}, opset, "")
        attempts.append(Attempt(tool=told, seconds=seconds, error=failure.whole))
        ahead, behind = _others(exporter, road, failure)
        roads = [*ahead, *roads, *(other for other in behind if other not in roads)]
        roads = [other for other in roads if other not in failures]
        if roads or kept is not None or isinstance(found, Trial):  # else it is told as the error
            context.warn(f"{told}: {failure.told}" + (f"; next is {roads[0].told(opset)}" if roads else ""))
        if isinstance(found, Trial) and kept is None:
            kept = (road, found)
            _move(context.out, aside)
        _remove(context.out)
    if kept is not None:
        _move(aside, context.out)
        return Found(*kept, attempts)
    raise _none(failures, opset, remedy if any(tools.values()) else "")


def _attempt(exporter: Exporter, road: Road, trial: Callable[[Path, Road], Trial], path: Path) -> Trial | Failure:
    """A trial of a graph that runs, whatever it computes."""
    try:
        exporter.write(road, path)
    except Exception as error:  # noqa: BLE001 - the exporters raise whatever they meet; each attempt is recorded
        traceback.print_exc()
        return of_exporter(error)
    found = trial(path, road)
    return of_graph(path, found.fails, found.remedy) if found.fails else found


def _others(exporter: Exporter, road: Road, failure: Failure) -> tuple[list[Road], list[Road]]:
    """Other roads that may do where this one failed: those to try next, and last."""
    ahead = [replace(road, opset=opset) for opset in (newer_opset(failure.said, road.opset),) if opset]
    if road.tool != DYNAMO:
        return ahead, []
    if exporter.replaced(road):
        ahead.append(replace(road, decomposed=False))
    again = exporter.captured(road) and not road.strict and failure.remedy != LACKING  # which no other capture mends
    return ahead, [replace(road, strict=True)] if again else []


def newer_opset(said: str, opset: int) -> int | None:
    """The first opset above `opset` that has what the graph's own lacks, by what ONNX Runtime or an exporter has said of it;
    None where there is none, or it is another fault."""
    if added := _ADDED.search(said):
        return int(added["opset"]) if opset < int(added["opset"]) <= NEWEST else None
    for pattern in _LACKING:
        if found := pattern.search(said):
            return next((version for version in _versions(found.groupdict()) if opset < version <= NEWEST), None)
    return None


def _versions(wanted: Mapping[str, str]) -> Iterator[int]:
    """The opsets, ascending, at which an operator of ONNX came to have an attribute, or to take a type."""
    import onnx

    schemas = [schema for schema in onnx.defs.get_all_schemas_with_history() if schema.name == wanted["op"]]
    for schema in sorted(schemas, key=lambda schema: schema.since_version):
        types = {text for constraint in schema.type_constraints for text in constraint.allowed_type_strs}
        fits = "type" not in wanted or wanted["type"] in types
        if schema.domain == "" and fits and ("attribute" not in wanted or wanted["attribute"] in schema.attributes):
            yield schema.since_version


def _none(failures: Mapping[Road, Failure], opset: int, remedy: str) -> ConversionError:
    reasons: dict[str, list[str]] = {}
    for road, failure in failures.items():
        reasons.setdefault(failure.told, []).append(road.told(opset))
    told = "; ".join(f"{' and '.join(roads)}: {reason}" for reason, roads in reasons.items())
    findings = [
        Finding(
            severity="error",
            op=failure.operator,
            node=failure.line,
            backend=road.told(opset),
            versions="",
            message=failure.reason,
            remedy=failure.remedy,
        )
        for road, failure in failures.items()
        if failure.operator or failure.line
    ]
    findings = list({(found.op, found.node, found.message): found for found in reversed(findings)}.values())[::-1]
    first = next((failure.remedy for failure in failures.values() if failure.remedy), "")
    return ConversionError(f"no exporter takes the model ({told})", remedy or first, findings)


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in source.glob(f"{MODEL}*"):
        path.rename(target / path.name)


def _remove(folder: Path) -> None:
    for path in folder.glob(f"{MODEL}*"):
        path.unlink()
