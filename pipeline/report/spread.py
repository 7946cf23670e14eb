"""Charts of one comparison: how the differences of each output are spread, over their sizes and over the samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from enginesmith.converters.core.comparisons import Comparison, OutputDifference, SampleComparison
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.charts import SERIES, Chart, Figure, axis, figure, finite, plain

HEIGHT = 300


def charts(anchor: str, comparison: Comparison) -> list[Chart]:
    """Those that the comparison has figures for."""
    names = _worst_outputs(comparison.samples)
    drawn = (_histogram(f"{anchor}-histogram", comparison, names), _per_sample(f"{anchor}-samples", comparison, names))
    return [chart for chart in drawn if chart]


def _worst_outputs(samples: Sequence[SampleComparison]) -> list[str]:
    """The outputs with the largest differences, as many as the series have colours; the table has them all."""
    worst: dict[str, float] = {}
    for output in (o for sample in samples for o in sample.outputs):
        value = math.inf if math.isnan(output.max_abs) else output.max_abs
        worst[output.name] = max(worst.get(output.name, 0.0), value)
    chosen = set(sorted(worst, key=lambda name: -worst[name])[: len(SERIES)])
    return [name for name in worst if name in chosen]


def _of(samples: Sequence[SampleComparison], name: str) -> Iterator[tuple[str, OutputDifference]]:
    return ((sample.sample, output) for sample in samples for output in sample.outputs if output.name == name)


def _histogram(id: str, comparison: Comparison, names: Sequence[str]) -> Chart | None:
    """How many values differ by how much: one bar per decade and output, summed over the samples."""
    spread = {name: _decades(comparison, name) for name in names}
    spread = {name: counts for name, counts in spread.items() if counts}
    if not spread:
        return None
    ordered = sorted({edges for counts in spread.values() for edges in counts})
    most = max(count for counts in spread.values() for count in counts.values())
    data: list[Figure] = [
        {
            "type": "bar",
            "name": plain(name),
            "x": [place for place, edges in enumerate(ordered) if edges in counts],
            "y": [counts[edges] for edges in ordered if edges in counts],
            "text": [_between(*edges) for edges in ordered if edges in counts],
            "textposition": "none",
            "marker": {"color": SERIES[names.index(name)]},
            "hovertemplate": "%{text}<br>%{fullData.name}: %{y:,} values<extra></extra>",
        }
        for name, counts in spread.items()
    ]
    return Chart(
        id,
        "Values by absolute difference",
        "; ".join(
            f"{name}: " + ", ".join(f"{n:,} in {_between(*edges)}" for edges, n in sorted(counts.items()))
            for name, counts in spread.items()
        ),
        HEIGHT,
        figure(
            data,
            barmode="group",
            showlegend=True,
            xaxis=axis(
                "absolute difference, by decade",
                tickvals=list(range(len(ordered))),
                # The upper bound alone: both would not fit side by side.
                ticktext=[
                    f"&lt;{_power(high)}" if math.isfinite(high) else _between(low, high) for low, high in ordered
                ],
                showgrid=False,
            ),
            # From a half, so that a single value still has a bar.
            yaxis=axis("values", type="log", range=[math.log10(0.5), math.log10(most) + 0.1], dtick=1, tickformat="~s"),
        ),
    )


def _decades(comparison: Comparison, name: str) -> dict[tuple[float, float], int]:
    """Values of an output by the bounds of their difference, over all samples; empty bins are left out."""
    counts: dict[tuple[float, float], int] = {}
    for _, output in _of(comparison.samples, name):
        if output.histogram:
            edges = output.histogram.edges
            for low, high, count in zip(edges, edges[1:], output.histogram.counts, strict=False):
                if count:
                    counts[low, high] = counts.get((low, high), 0) + count
    return counts


def _between(low: float, high: float) -> str:
    if low <= 0:
        return f"below {_power(high)}"
    return f"{_power(low)} … {_power(high)}" if math.isfinite(high) else f"from {_power(low)}"


def _power(value: float) -> str:
    """Powers of ten all in one form: among decades, `0.01` beside `1e-4` is hard to read."""
    if value <= 0 or not math.isfinite(value):
        return text.difference(value)
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _per_sample(id: str, comparison: Comparison, names: Sequence[str]) -> Chart | None:
    """Largest and mean difference of every sample on a log axis, with each output's tolerance as a line."""
    if not names:
        return None
    shown = [(name, list(_of(comparison.samples, name))) for name in names]
    outputs = [output for _, rows in shown for _, output in rows]
    positive = [v for o in outputs for v in (o.max_abs, o.mean_abs, o.tolerance_abs) if 0 < v < math.inf]
    low, high = math.floor(math.log10(min(positive, default=1e-6))), math.ceil(math.log10(max(positive, default=1.0)))
    exact = any(output.max_abs == 0 for output in outputs)
    floor = 10.0 ** (low - 1)
    data: list[Figure] = []
    for colour, (name, rows) in zip(SERIES, shown, strict=False):
        data += _series(name, rows, colour, floor)
    return Chart(
        id,
        "Per sample: ● largest, ▬ mean, ┄ tolerance" + (", ○ exactly 0" if exact else ""),
        "; ".join(
            f"{name}, {sample}: largest {text.difference(o.max_abs)}, mean {text.difference(o.mean_abs)}, "
            f"tolerance {text.difference(o.tolerance_abs)}"
            for name, rows in shown
            for sample, o in rows[:8]
        ),
        HEIGHT,
        figure(
            data,
            showlegend=True,
            xaxis=axis(type="category"),
            yaxis=axis(
                "absolute difference",
                type="log",
                range=[low - (1.4 if exact else 0.2), high + 0.2],
                dtick=max(1, (high - low) // 6),
                exponentformat="e",
            ),
        ),
    )


def _series(name: str, rows: Sequence[tuple[str, OutputDifference]], colour: str, floor: float) -> list[Figure]:
    """One output: points for the largest, dashes for the mean, a line for the tolerance, all under one legend entry.

    An exact match has no place on a log axis: it is drawn a decade below all else, hollow.
    """
    samples = [plain(sample) for sample, _ in rows]

    def trace(kind: str, values: Sequence[float], heights: Sequence[float | None], **more: object) -> Figure:
        return {
            "type": "scatter",
            "mode": "markers",
            "name": plain(name),
            "legendgroup": name,
            "showlegend": False,
            "x": samples,
            "y": heights,
            "text": [text.difference(value) for value in values],
            "hovertemplate": f"%{{x}}<br>%{{fullData.name}}: {kind} %{{text}}<extra></extra>",
            **more,
        }

    largest = [output.max_abs for _, output in rows]
    means = [output.mean_abs for _, output in rows]
    bounds = [output.tolerance_abs for _, output in rows]
    symbols = ["circle-open" if value == 0 else "circle" for value in largest]
    dash = {"color": colour, "size": 12, "symbol": "line-ew", "line": {"color": colour, "width": 2}}
    line = {"color": colour, "dash": "dash", "width": 1.5}
    return [
        trace("largest", largest, [finite(value or floor) for value in largest], showlegend=True,
              marker={"color": colour, "size": 9, "symbol": symbols}),
        trace("mean", means, [finite(value) if value else None for value in means], marker=dash),
        trace("tolerance", bounds, [finite(value) if value else None for value in bounds], mode="lines", line=line),
    ]  # fmt: skip
