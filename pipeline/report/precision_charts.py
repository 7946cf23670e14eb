"""The charts of the precision section: candidates of a search by latency and loss, and layers by what each alone loses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from enginesmith.converters.core.records import Candidate, LayerLoss, Search
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.charts import Chart, Figure, axis, figure, plain

MOST_LAYERS = 30
"""Bars of the sensitivity chart."""
MARKS: Mapping[str, tuple[str, str]] = {
    "chosen": ("star", "--c3"),
    "within the budget": ("circle", "--c1"),
    "over the budget": ("x", "--c2"),
    "as it was": ("diamond-open", "--mute"),
}
"""What a candidate is, its sign in the plot, and its colour: no two signs are alike."""


def states(search: Search) -> list[tuple[Candidate, str]]:
    """What there is to compare, each with what it is: a key of MARKS. The float32 graph comes first."""
    return [
        *([(search.reference, "as it was")] if search.reference else []),
        *((found, _state(found)) for found in search.candidates),
    ]


def _state(candidate: Candidate) -> str:
    return "chosen" if candidate.chosen else "within the budget" if candidate.within else "over the budget"


def candidates(search: Search, prefix: str) -> Chart | None:
    """Each candidate's latency and loss, with the budget as a line."""
    shown = [(found, state) for found, state in states(search) if found.milliseconds is not None]
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
        f"Budget {text.of_metric(search.budget)}. "
        + "; ".join(
            f"{found.name}: {text.milliseconds(found.milliseconds or 0.0)}, loss {text.lost(found.loss)}, {state}"
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
                    "text": f"budget {text.of_metric(search.budget)}",
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
    """The most harmful layers of one precision: how much the outputs change when each alone is lowered."""
    if not layers:
        return None
    by_error = any(found.error for found in layers)
    shown = sorted(layers, key=lambda found: -(found.error if by_error else found.loss))[:MOST_LAYERS]
    labels = list(shortened([found.node for found in shown]))
    values = [found.error if by_error else found.loss for found in shown]
    told = [f"{text.percent(v)}" if by_error else text.lost(v) for v in values]
    precision = layers[0].precision
    rest = f", the {len(shown)} most harmful of {len(layers)}" if len(layers) > len(shown) else ""
    bars: Figure = {
        "type": "bar",
        "orientation": "h",
        "y": labels,
        "x": values,
        "text": told,
        "customdata": [[plain(found.node), found.op, text.lost(found.loss)] for found in shown],
        "hovertemplate": "%{customdata[0]} (%{customdata[1]})<br>%{text}, loss of the metric %{customdata[2]}<extra></extra>",
        "textposition": "outside",
        "constraintext": "none",
        "textangle": 0,
        "textfont": {"size": 11},
        "cliponaxis": False,
        "marker": {"color": "--c1"},
    }
    return Chart(
        f"{prefix}-{precision}",
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


def shortened(names: Sequence[str]) -> Iterator[str]:
    """The ends of names, which tell them apart; numbered where they don't, since equal labels are one bar."""
    seen: dict[str, int] = {}
    for name in names:
        label = name if len(name) <= LABEL else f"…{name[1 - LABEL :]}"
        seen[label] = seen.get(label, 0) + 1
        yield plain(label if seen[label] == 1 else f"{label} ({seen[label]})")
