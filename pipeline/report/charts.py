"""Charts as plotly figures in plain data: the page's own script draws them, so rendering needs no plotly objects.

A colour that starts with `--` is a variable of the style sheet; the script puts in its value, light or dark.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enginesmith.converters.core.facts import GraphFacts
from enginesmith.pipeline.job.manifest import EngineRecord, Manifest, StageRecord
from enginesmith.pipeline.report import text

Figure = dict[str, Any]

SERIES = ("--c1", "--c2", "--c3", "--c4", "--c5", "--c6")
DTYPE_COLOURS: Mapping[str, str] = {"float32": "--c1", "float16": "--c2", "bfloat16": "--c4", "int8": "--c3"}
MOST_OPS = 24
"""Operators shown; the rest, all rarer, are summed up in one bar."""


@dataclass(frozen=True)
class Chart:
    id: str
    title: str
    description: str
    """What the chart shows, in words, for whoever can't see it."""
    height: int
    figure: Figure


def figure(data: list[Figure], **layout: Any) -> Figure:
    """Everything that all charts have in common."""
    common: Figure = {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12, "color": "--ink"},
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "hoverlabel": {"bgcolor": "--surface", "bordercolor": "--line", "font": {"color": "--ink"}},
        "legend": {
            "orientation": "h",
            "traceorder": "normal",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "xanchor": "left",
        },
        "showlegend": len(data) > 1,
        # A finger that scrolls the page must not draw a zoom box.
        "dragmode": False,
    }
    return {"data": data, "layout": common | layout}


def axis(title: str = "", **more: Any) -> Figure:
    made: Figure = {
        "automargin": True,
        "gridcolor": "--grid",
        "zerolinecolor": "--line",
        "linecolor": "--line",
        "tickcolor": "--line",
        "fixedrange": True,
    }
    if title:
        made["title"] = {"text": title, "standoff": 8}
    return made | more


def _labelled(engines: Sequence[EngineRecord]) -> list[tuple[str, EngineRecord]]:
    """Engines with a name each: bars of one name would be drawn on top of each other."""
    seen: Counter[str] = Counter()
    labelled = []
    for engine in engines:
        name = f"{engine.backend} {engine.target}".strip()
        seen[name] += 1
        labelled.append((name if seen[name] == 1 else f"{name} ({seen[name]})", engine))
    return labelled


def finite(value: float) -> float | None:
    """Plotly leaves a gap for null; JSON has no NaN."""
    return value if math.isfinite(value) else None


def plain(name: str) -> str:
    """Plotly reads a subset of HTML in every text that it draws; a name is text."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def latencies(manifest: Manifest) -> Chart | None:
    """Engines beside ONNX Runtime on the same graph in the same run."""
    timed = [(name, engine.latency) for name, engine in _labelled(manifest.engines) if engine.latency]
    if not timed:
        return None
    names = [name for name, _ in timed]
    sides = [
        ("ONNX Runtime", "--mute", [latency.onnxruntime_ms for _, latency in timed]),
        ("Engine", "--c1", [latency.engine_ms for _, latency in timed]),
    ]
    data = [bars(name, colour, names, values, [text.milliseconds(v) for v in values]) for name, colour, values in sides]
    return Chart(
        "chart-latency",
        "Latency beside ONNX Runtime",
        "; ".join(
            f"{name}: {text.milliseconds(latency.engine_ms)}, "
            f"ONNX Runtime {text.milliseconds(latency.onnxruntime_ms)} ({text.speed(latency)})"
            for name, latency in timed
        ),
        110 + 64 * len(timed),
        figure(
            data,
            barmode="group",
            xaxis=axis("median milliseconds", range=room([value for _, _, values in sides for value in values])),
            yaxis=axis(type="category", autorange="reversed"),
        ),
    )


def bars(name: str, colour: str, labels: Sequence[str], values: Sequence[float], shown: Sequence[str]) -> Figure:
    """Lying bars: their labels stay readable on a phone."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": plain(name),
        "y": [plain(label) for label in labels],
        "x": [finite(value) for value in values],
        "text": list(shown),
        "textposition": "outside",
        # Plotly shrinks texts to the width of their bars otherwise.
        "constraintext": "none",
        "textangle": 0,
        "textfont": {"size": 11},
        "cliponaxis": False,
        "hovertemplate": "%{y}<br>%{fullData.name}: %{text}<extra></extra>",
        "marker": {"color": colour},
    }


def room(values: Sequence[float]) -> list[float]:
    """A range from 0 with room for the figures after the bars, on a phone too."""
    return [0.0, 1.2 * max((value for value in values if math.isfinite(value)), default=1.0) or 1.0]


def dtype_colours(manifest: Manifest) -> dict[str, str]:
    """Data types of all engines' layers, the most frequent first, each with its colour."""
    total: Counter[str] = Counter()
    for engine in manifest.engines:
        total.update(engine.layers_by_dtype)
    free = iter(("--c5", "--c6", "--mute") * len(total))
    return {dtype: DTYPE_COLOURS.get(dtype) or next(free) for dtype, _ in total.most_common()}


def layers_by_dtype(manifest: Manifest) -> Chart | None:
    """The precision that each engine really has, as one stacked bar."""
    engines = [(name, engine) for name, engine in _labelled(manifest.engines) if engine.layers_by_dtype]
    if not engines:
        return None
    data = []
    for dtype, colour in dtype_colours(manifest).items():
        values = [engine.layers_by_dtype.get(dtype, 0) for _, engine in engines]
        shown = [text.count(value) if value else "" for value in values]
        stacked = bars(dtype, colour, [name for name, _ in engines], values, shown)
        data.append(stacked | {"textposition": "inside", "insidetextanchor": "middle", "constraintext": "inside"})
    return Chart(
        "chart-dtypes",
        "Layers by data type",
        "; ".join(
            f"{name}: " + ", ".join(f"{text.count(n)} {dtype}" for dtype, n in engine.layers_by_dtype.items())
            for name, engine in engines
        ),
        110 + 44 * len(engines),
        figure(
            data,
            barmode="stack",
            showlegend=True,
            uniformtext={"mode": "hide", "minsize": 9},
            xaxis=axis("layers", rangemode="tozero"),
            yaxis=axis(type="category", autorange="reversed"),
        ),
    )


def operators(manifest: Manifest) -> Chart | None:
    """Operators of each graph that differs from the one before; at first only the first and the simplified one show."""
    graphs: list[tuple[StageRecord, Mapping[str, int]]] = []
    for stage, facts in manifest.told(GraphFacts):
        if facts.ops and (not graphs or facts.ops != graphs[-1][1]):
            graphs.append((stage, facts.ops))
    if not graphs:
        return None
    last, after = next(((stage, ops) for stage, ops in graphs[1:] if stage.stage == "simplify"), graphs[-1])
    first, before = graphs[0]
    ranked = sorted(
        {op for _, ops in graphs for op in ops},
        key=lambda op: (-max(before.get(op, 0), after.get(op, 0)), op),
    )
    shown, others = ranked[:MOST_OPS], ranked[MOST_OPS:]
    labels = [*shown, f"{len(others)} others"] if others else shown
    data = []
    for number, (stage, ops) in enumerate(graphs):
        values = [ops.get(op, 0) for op in shown]
        if others:
            values.append(sum(ops.get(op, 0) for op in others))
        lying = bars(stage.id, SERIES[number % len(SERIES)], labels, values, [text.count(value) for value in values])
        data.append(lying | {"visible": True if stage in (first, last) else "legendonly"})
    total = [sum(ops.values()) for ops in (before, after)]
    return Chart(
        "chart-operators",
        "Operators before and after" if last is not first else "Operators",
        f"{first.id}: {text.count(total[0])} nodes; {last.id}: {text.count(total[1])} nodes. "
        + ", ".join(f"{op} {before.get(op, 0)} to {after.get(op, 0)}" for op in shown[:12]),
        100 + 30 * len(labels),
        figure(
            data,
            barmode="group",
            bargap=0.25,
            showlegend=True,
            xaxis=axis("nodes", range=room([value for trace in data for value in trace["x"]])),
            yaxis=axis(type="category", autorange="reversed", dtick=1),
        ),
    )
