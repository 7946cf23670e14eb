"""Precision: what it costs in accuracy, what computes in which type, how a mix was found, and why layers stayed wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from enginesmith.converters.records import Accuracy, Candidate, LayerLoss, Search
from enginesmith.pipeline.manifest import Manifest, StageRecord
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.charts import Chart, Figure, axis, figure, plain
from enginesmith.pipeline.report.summary import Tone

MOST_LAYERS = 30
"""Bars of the sensitivity chart."""
DTYPES = ("int8", "float16", "bfloat16", "float32")
SHORT = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
MARKS: Mapping[str, tuple[str, str]] = {
    "chosen": ("star", "--c3"),
    "within the budget": ("circle", "--c1"),
    "over the budget": ("x", "--c2"),
    "as it was": ("diamond-open", "--mute"),
}
"""What a candidate is, its sign in the plot, and its colour: no two signs are alike."""
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
    lowered = [stage for stage in manifest.stages if stage.lowering]
    searches = [stage for stage in manifest.stages if stage.search]
    measured = [stage for stage in manifest.stages if stage.accuracy]
    if not (lowered or searches or measured):
        return None
    dtypes, counts = _counts(manifest, lowered)
    return View(
        measured=[_measured(stage, stage.accuracy, hrefs) for stage in measured if stage.accuracy],
        dtypes=dtypes,
        counts=counts,
        searched=[_searched(stage, stage.search, hrefs) for stage in searches if stage.search],
        kept=_kept(lowered, searches),
        charts=[
            chart
            for stage in searches
            if stage.search
            for chart in (candidates(stage.search, hrefs[stage.id]), sensitivity(stage.search.layers, hrefs[stage.id]))
            if chart
        ],
    )


def of_metric(value: float) -> str:
    """Four decimals: a hundredth of a point of a hundred."""
    return f"{value:.4f}" if abs(value) >= 5e-5 or value == 0 else f"{value:.1e}"


def lost(loss: float) -> str:
    """For a column of losses: in words for what is none."""
    return f"{of_metric(-loss)} gained" if loss < 0 else of_metric(loss)


def told(loss: float) -> str:
    """For a sentence: `0.0046 lost`, `0.0016 gained`."""
    return lost(loss) if loss < 0 else f"{of_metric(loss)} lost"


def _measured(stage: StageRecord, accuracy: Accuracy, hrefs: Mapping[str, str]) -> Measured:
    if accuracy.budget is None:
        tone, verdict = ("mute", "no budget was given")
    else:
        tone = "good" if accuracy.passed else "bad"
        verdict = f"{'within' if accuracy.passed else 'over'} the budget of {of_metric(accuracy.budget)}"
    return Measured(
        stage=stage.id,
        href=hrefs[stage.id],
        record=accuracy,
        before=of_metric(accuracy.before),
        after=of_metric(accuracy.after),
        loss=told(accuracy.loss),
        tone=tone,  # type: ignore[arg-type]
        verdict=verdict,
    )


def _counts(manifest: Manifest, lowered: Sequence[StageRecord]) -> tuple[list[str], list[Counted]]:
    """Products in the graph and in each parsed network, and all layers, by type."""
    found: list[tuple[str, str, Mapping[str, int]]] = []
    for stage in lowered:
        assert stage.lowering
        found.append((f"graph ({stage.id})", "products", stage.lowering.products_by_dtype))
        found.append((f"graph ({stage.id})", "nodes", stage.lowering.nodes_by_dtype))
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
        verdict = f"chosen: {chosen.name}, {told(chosen.loss)}"
    elif best:
        verdict = f"none is within the budget: {best.name} misses it by {of_metric(best.loss - search.budget)}"
    else:
        verdict = "no mix was evaluated"
    return Searched(
        stage=stage.id,
        href=hrefs[stage.id],
        record=search,
        budget=of_metric(search.budget),
        verdict=verdict,
        tone="good" if chosen else "bad",
        estimated=any(found.milliseconds is not None and not found.measured for found, _ in _states(search)),
        rows=[_row(number, found, state) for number, (found, state) in enumerate(_states(search))],
    )


def _states(search: Search) -> list[tuple[Candidate, str]]:
    """What there is to compare, each with what it is: a key of MARKS. The float32 graph comes first."""
    return [
        *([(search.reference, "as it was")] if search.reference else []),
        *((found, _state(found)) for found in search.candidates),
    ]


def _state(candidate: Candidate) -> str:
    return "chosen" if candidate.chosen else "within the budget" if candidate.within else "over the budget"


def _row(number: int, candidate: Candidate, state: str) -> Row:
    latency = text.NOTHING if candidate.milliseconds is None else text.milliseconds(candidate.milliseconds)
    return Row(
        number=number,
        name=candidate.name,
        tone=TONES[state],
        verdict=state,
        size=text.size(candidate.size),
        latency=latency if candidate.measured or candidate.milliseconds is None else f"≈ {latency}",
        accuracy=of_metric(candidate.accuracy),
        loss=lost(candidate.loss),
    )


def _kept(lowered: Sequence[StageRecord], searches: Sequence[StageRecord]) -> list[Kept]:
    """By reason, that of most layers first. What a search says of a node goes over what the rewriting says."""
    reasons: dict[str, str] = {}
    ops: dict[str, str] = {}
    harm: dict[str, LayerLoss] = {}
    for stage in lowered:
        assert stage.lowering
        for kept in stage.lowering.kept:
            if kept.product:
                reasons[kept.node], ops[kept.node] = kept.reason, kept.op
    for stage in searches:
        assert stage.search
        reasons |= stage.search.reasons
        harm |= {found.node: found for found in stage.search.layers}
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for node, reason in reasons.items():
        found = harm.get(node)
        op = found.op if found else ops.get(node, "")
        groups.setdefault(reason, []).append((node, op, _harm(found) if found else ""))
    return [Kept(reason, layers) for reason, layers in sorted(groups.items(), key=lambda item: -len(item[1]))]


def _harm(found: LayerLoss) -> str:
    """What a layer alone costs."""
    return f"{found.precision} alone: {told(found.loss)}, outputs change by {text.percent(found.error)}"


# Charts


def candidates(search: Search, prefix: str) -> Chart | None:
    """Each candidate's latency and loss, with the budget as a line."""
    shown = [(found, state) for found, state in _states(search) if found.milliseconds is not None]
    if not shown or not search.candidates:
        return None
    data = [trace for state in MARKS if (trace := _marks(state, [found for found, other in shown if other == state]))]
    times = [found.milliseconds or 0.0 for found, _ in shown]
    losses = [found.loss for found, _ in shown] + [search.budget]
    low, high = min(*losses, 0.0), max(losses)
    room = 0.12 * ((high - low) or 1.0)
    edge = 0.15 * ((max(times) - min(times)) or max(times) or 1.0)
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": search.budget, "y1": search.budget}
    measured = all(found.measured for found, _ in shown)
    return Chart(
        f"{prefix}-candidates",
        "Candidates by latency and loss",
        f"Budget {of_metric(search.budget)}. "
        + "; ".join(
            f"{found.name}: {text.milliseconds(found.milliseconds or 0.0)}, loss {lost(found.loss)}, {state}"
            for found, state in shown
        ),
        340,
        figure(
            data,
            showlegend=True,
            xaxis=axis(
                f"{'measured' if measured else 'estimated'} milliseconds",
                range=[min(times) - edge, max(times) + edge],
                zeroline=False,
            ),
            yaxis=axis("loss of the metric", range=[low - room, high + room]),
            shapes=[line | {"line": {"color": "--bad", "width": 1.5, "dash": "dash"}}],
            annotations=[
                {
                    "text": f"budget {of_metric(search.budget)}",
                    "xref": "paper",
                    "x": 1,
                    "xanchor": "right",
                    "y": search.budget,
                    "yanchor": "bottom",
                    "showarrow": False,
                    "font": {"color": "--bad", "size": 11},
                }
            ],
        ),
    )


def _marks(state: str, found: Sequence[Candidate]) -> Figure | None:
    if not found:
        return None
    symbol, colour = MARKS[state]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": state,
        "x": [candidate.milliseconds for candidate in found],
        "y": [candidate.loss for candidate in found],
        "text": [plain(candidate.name) for candidate in found],
        "customdata": [text.size(candidate.size) for candidate in found],
        "hovertemplate": "%{text}<br>%{x:.3g} ms, %{customdata}<br>loss %{y:.4f}<extra>%{fullData.name}</extra>",
        "marker": {"symbol": symbol, "color": colour, "size": 16 if state == "chosen" else 9},
        "cliponaxis": False,
    }


def sensitivity(layers: Sequence[LayerLoss], prefix: str) -> Chart | None:
    """The most harmful layers: how much the outputs change when each alone is lowered."""
    if not layers:
        return None
    by_error = any(found.error for found in layers)
    shown = sorted(layers, key=lambda found: -(found.error if by_error else found.loss))[:MOST_LAYERS]
    labels = list(_shortened([found.node for found in shown]))
    values = [found.error if by_error else found.loss for found in shown]
    told = [f"{text.percent(v)}" if by_error else lost(v) for v in values]
    precision = ", ".join(dict.fromkeys(found.precision for found in layers))
    rest = f", the {len(shown)} most harmful of {len(layers)}" if len(layers) > len(shown) else ""
    bars: Figure = {
        "type": "bar",
        "orientation": "h",
        "y": labels,
        "x": values,
        "text": told,
        "customdata": [[plain(found.node), found.op, lost(found.loss)] for found in shown],
        "hovertemplate": "%{customdata[0]} (%{customdata[1]})<br>%{text}, loss of the metric %{customdata[2]}<extra></extra>",
        "textposition": "outside",
        "constraintext": "none",
        "textangle": 0,
        "textfont": {"size": 11},
        "cliponaxis": False,
        "marker": {"color": "--c1"},
    }
    return Chart(
        f"{prefix}-sensitivity",
        f"Layers alone in {precision}{rest}",
        "; ".join(f"{found.node}: {figure_}" for found, figure_ in zip(shown, told, strict=True)),
        80 + 22 * len(shown),
        figure(
            [bars],
            xaxis=axis(
                "change of the outputs, relative" if by_error else "loss of the metric",
                range=[min(0.0, *values), 1.25 * (max(values) if max(values) > 0 else 1.0)],
                **({"tickformat": "~%"} if by_error else {}),
            ),
            yaxis=axis(type="category", autorange="reversed", dtick=1),
        ),
    )


LABEL = 34
"""Characters of a node's name beside its bar: a phone has room for no more."""


def _shortened(names: Sequence[str]) -> Iterator[str]:
    """The ends of names, which tell them apart; numbered where they don't, since equal labels are one bar."""
    seen: dict[str, int] = {}
    for name in names:
        label = name if len(name) <= LABEL else f"…{name[1 - LABEL :]}"
        seen[label] = seen.get(label, 0) + 1
        yield plain(label if seen[label] == 1 else f"{label} ({seen[label]})")
