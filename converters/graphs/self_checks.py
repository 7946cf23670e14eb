"""The checks of an engine against itself, on the inputs of a comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.comparisons import Comparison, SelfCheck
from enginesmith.converters.core.recipe import FP32
from enginesmith.converters.core.samples import Array, Feed, SampleSet
from enginesmith.converters.graphs import interface, onnxruntime
from enginesmith.converters.graphs.answers import Infer, Subject, again
from enginesmith.converters.graphs.comparison import excuse
from enginesmith.converters.graphs.consistency import check
from enginesmith.converters.graphs.tolerances import tolerance_of

if TYPE_CHECKING:
    import onnx
    from polygraphy.backend.base import BaseRunner

LEAST_SECONDS = 2.0
"""For all checks of an engine, where its samples took less."""


def self_checks(
    runner: BaseRunner,
    label: str,
    graph: Path,
    samples: SampleSet,
    feeds: Sequence[Feed],
    precision: str,
    *,
    steady: bool = True,
    changed: onnx.ModelProto | None = None,
    seconds: float = float("inf"),
    others: Mapping[str, Callable[[], Infer]] | None = None,
) -> list[SelfCheck]:
    """Run an engine on some of the `feeds`, which it takes, changed round and in another order, and hold what it answers against
    what it answered. `graph` is asked where that differs, as it is written; repairs `changed` the engine's interface.
    `steady` engines add in the same order each time. Raises what the runner raises for one that can't be loaded.
    """
    whole = tolerance_of(precision, samples.own)
    began = time.process_time()
    with runner:
        opening = time.process_time() - began
        subject = Subject(
            name=label,
            infer=infer_with(runner, changed),
            feeds=feeds,
            task=samples.task,
            tolerance=whole,
            exact=again(tolerance_of(FP32) if steady else whole),
            reference=reference_of(graph),
            unjudged=excuse(samples, precision),
            seconds=seconds,
            others=others or {},
        )
        checks = check(subject)
    checks[0].seconds += round(opening, 3)
    return checks


def infer_with(runner: BaseRunner, changed: onnx.ModelProto | None = None) -> Infer:
    """A call of an active runner, whose outputs lie in memory of their own."""

    def infer(feed: Feed) -> dict[str, Array]:
        outputs = runner.infer(interface.fed(changed, feed))
        return {name: array.copy() for name, array in interface.fetched(changed, outputs).items()}

    return infer


def reference_of(graph: Path) -> Callable[[], Infer]:
    """ONNX Runtime on a graph as it is written, opened when it is asked for."""
    opened: list[Infer] = []

    def reference() -> Infer:
        if not opened:
            session = onnxruntime.session(graph, optimize=False)
            names = [output.name for output in session.get_outputs()]
            opened.append(lambda feed: dict(zip(names, session.run(None, dict(feed)), strict=True)))
        return opened[0]

    return reference


def note_contradictions(comparison: Comparison, checks: Sequence[SelfCheck]) -> None:
    """Keep the checks; one that fails fails the comparison, whatever it says: the next answer may be another one."""
    comparison.consistency = [*comparison.consistency, *checks]
    failed = [each for each in checks if each.verdict == "fail"]
    if failed:
        first = failed[0]
        more = f" ({len(failed)} checks in all)" if len(failed) > 1 else ""
        told = f"{first.of} contradicts itself: {first.reason}{more}"
        comparison.reason = "; ".join(filter(None, (told, comparison.reason)))
        comparison.verdict = "fail"


def told(checks: Sequence[SelfCheck]) -> str:
    """In a few words, for a table; empty where nothing was looked at."""
    ran = [each for each in checks if each.verdict != "not run"]
    passed = sum(each.verdict != "fail" for each in ran)
    return f"{passed} of {len(ran)} self-checks" if ran else ""
