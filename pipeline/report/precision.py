"""Precision: what it costs in accuracy, what computes in which type, how a mix was found, and why layers stayed wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from enginesmith.converters.core.facts import JudgedFacts
from enginesmith.converters.core.records import Accuracy, Candidate, LayerLoss, Search
from enginesmith.converters.precision.facts import LoweredFacts
from enginesmith.converters.stages.search import SearchFacts
from enginesmith.pipeline.job.manifest import Manifest, StageRecord
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.charts import Chart
from enginesmith.pipeline.report.precision_charts import candidates, sensitivity, states
from enginesmith.pipeline.report.summary import Tone

DTYPES = ("int8", "float16", "bfloat16", "float32")
TONES: Mapping[str, Tone] = {
    "chosen": "good",
    "within the budget": "mute",
    "over the budget": "warn",
    "as it was": "mute",
}


@dataclass(frozen=True)
class Measured:
    """A metric before and after."""

    stage: str
    href: str
    record: Accuracy
    before: str
    after: str
    loss: str
    tone: Tone
    verdict: str


@dataclass(frozen=True)
class Counted:
    """How many of something compute in which type: one row of the table, a cell for each of the view's `dtypes`."""

    where: str
    what: str
    cells: list[str]


@dataclass(frozen=True)
class Row:
    """A candidate."""

    number: int
    name: str
    tone: Tone
    verdict: str
    size: str
    latency: str
    accuracy: str
    loss: str


@dataclass(frozen=True)
class Kept:
    """Layers that stayed in a higher precision for one reason; each with its operator and what it costs lower."""

    reason: str
    layers: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Searched:
    stage: str
    href: str
    record: Search
    budget: str
    verdict: str
    tone: Tone
    estimated: bool
    rows: list[Row]


@dataclass(frozen=True)
class View:
    """The section; charts belong to the searches, and to no other part."""

    measured: list[Measured]
    dtypes: list[str]
    counts: list[Counted]
    searched: list[Searched]
    kept: list[Kept]
    charts: list[Chart]


def view(manifest: Manifest, hrefs: Mapping[str, str]) -> View | None:
    """None for a build that lowered nothing."""
    lowered = list(manifest.told(LoweredFacts))
    searches = [(stage, facts.search) for stage, facts in manifest.told(SearchFacts) if facts.search]
    measured = list(manifest.told(JudgedFacts))
    if not (lowered or searches or measured):
        return None
    dtypes, counts = _counts(manifest, lowered)
    return View(
        measured=[_measured(stage, facts.accuracy, hrefs) for stage, facts in measured if facts.accuracy],
        dtypes=dtypes,
        counts=counts,
        searched=[_searched(stage, search, hrefs) for stage, search in searches],
        kept=_kept([facts for _, facts in lowered], [search for _, search in searches]),
        charts=[chart for stage, search in searches for chart in _charts(search, hrefs[stage.id])],
    )


def _charts(search: Search, prefix: str) -> Iterator[Chart]:
    if drawn := candidates(search, prefix):
        yield drawn
    for precision in dict.fromkeys(found.precision for found in search.layers):
        if drawn := sensitivity([found for found in search.layers if found.precision == precision], prefix):
            yield drawn


def _measured(stage: StageRecord, accuracy: Accuracy, hrefs: Mapping[str, str]) -> Measured:
    if accuracy.budget is None:
        tone, verdict = ("mute", "no budget was given")
    else:
        tone = "good" if accuracy.passed else "bad"
        verdict = f"{'within' if accuracy.passed else 'over'} the budget of {text.of_metric(accuracy.budget)}"
    return Measured(
        stage=stage.id,
        href=hrefs[stage.id],
        record=accuracy,
        before=text.of_metric(accuracy.before),
        after=text.of_metric(accuracy.after),
        loss=text.told(accuracy.loss),
        tone=tone,  # type: ignore[arg-type]
        verdict=verdict,
    )


def _counts(manifest: Manifest, lowered: Sequence[tuple[StageRecord, LoweredFacts]]) -> tuple[list[str], list[Counted]]:
    """Products in the graph and in each parsed network, and all layers, by type."""
    found: list[tuple[str, str, Mapping[str, int]]] = []
    for stage, facts in lowered:
        found.append((f"graph ({stage.id})", "products", facts.lowering.products_by_dtype))
        found.append((f"graph ({stage.id})", "nodes", facts.lowering.nodes_by_dtype))
    for engine in manifest.engines:
        where = f"network of {engine.backend} {engine.target}"
        found += [(where, kind, counts) for kind, counts in engine.products_built.items()]
        found.append((where, "layers", engine.layers_by_dtype))
    found = [(where, what, counts) for where, what, counts in found if counts]
    rest = {dtype for _, _, counts in found for dtype in counts} - set(DTYPES)
    dtypes = [dtype for dtype in DTYPES if any(dtype in counts for _, _, counts in found)] + sorted(rest)
    rows = [
        Counted(where, what, [text.count(counts[dtype]) if dtype in counts else "" for dtype in dtypes])
        for where, what, counts in found
    ]
    return dtypes, rows


def _searched(stage: StageRecord, search: Search, hrefs: Mapping[str, str]) -> Searched:
    chosen = next((found for found in search.candidates if found.chosen), None)
    best = min(search.candidates, key=lambda found: found.loss, default=None)
    if chosen:
        verdict = f"chosen: {chosen.name}, {text.told(chosen.loss)}"
    elif best:
        verdict = f"none is within the budget: {best.name} misses it by {text.of_metric(best.loss - search.budget)}"
    else:
        verdict = "no mix was evaluated"
    return Searched(
        stage=stage.id,
        href=hrefs[stage.id],
        record=search,
        budget=text.of_metric(search.budget),
        verdict=verdict,
        tone="good" if chosen else "bad",
        estimated=any(found.milliseconds is not None and not found.measured for found, _ in states(search)),
        rows=[_row(number, found, state) for number, (found, state) in enumerate(states(search))],
    )


def _row(number: int, candidate: Candidate, state: str) -> Row:
    latency = text.NOTHING if candidate.milliseconds is None else text.milliseconds(candidate.milliseconds)
    return Row(
        number=number,
        name=candidate.name,
        tone=TONES[state],
        verdict=state,
        size=text.size(candidate.size),
        latency=latency if candidate.measured or candidate.milliseconds is None else f"≈ {latency}",
        accuracy=text.of_metric(candidate.accuracy),
        loss=text.lost(candidate.loss),
    )


def _kept(lowered: Sequence[LoweredFacts], searches: Sequence[Search]) -> list[Kept]:
    """By reason, that of most layers first. What a search says of a node goes over what the rewriting says."""
    reasons: dict[str, str] = {}
    ops: dict[str, str] = {}
    harm: dict[str, LayerLoss] = {}
    for facts in lowered:
        for kept in facts.lowering.kept:
            if kept.product:
                reasons[kept.node], ops[kept.node] = kept.reason, kept.op
    for searched in searches:
        reasons |= searched.reasons
        harm |= {found.node: found for found in searched.layers}
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for node, reason in reasons.items():
        found = harm.get(node)
        op = found.op if found else ops.get(node, "")
        groups.setdefault(reason, []).append((node, op, _harm(found) if found else ""))
    return [Kept(reason, layers) for reason, layers in sorted(groups.items(), key=lambda item: -len(item[1]))]


def _harm(found: LayerLoss) -> str:
    """What a layer alone costs."""
    return f"{found.precision} alone: {text.told(found.loss)}, outputs change by {text.percent(found.error)}"
