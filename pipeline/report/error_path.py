"""The page of a divergence: the error of every tensor along the graph, in units of what is allowed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from enginesmith.converters.bisect.divergence import Divergence, Layer
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.report.charts import plain

FLOOR = 1e-6
"""Where an exact tensor is drawn, on a scale that has no zero."""
COLOURS = {"agrees": "#3b7dd8", "differs": "#d9822b", "starts here": "#c0392b"}


def write(compared: Sequence[Divergence], folder: Path) -> None:
    """`divergence.json` with all figures, and `divergence.html` with a chart of them. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "divergence.json").write_text(
            json.dumps(
                [{**summary(d), "layers": [layer.model_dump() for layer in d.layers]} for d in compared], indent=1
            )
        )
        (folder / "divergence.html").write_text(render(compared), encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't write into {folder} ({error.strerror}); give another folder with --out") from None


def summary(divergence: Divergence) -> dict[str, object]:
    first = divergence.first
    return {
        **divergence.model_dump(exclude={"layers"}),
        "compared": len(divergence.layers),
        "differing": sum(layer.differs for layer in divergence.layers),
        "first": first.model_dump() if first else None,
        "origins": [layer.model_dump() for layer in divergence.layers if layer.origin],
    }


def render(compared: Sequence[Divergence]) -> str:
    """A whole page, which needs no network."""
    from plotly.io import to_html

    parts = []
    for number, divergence in enumerate(compared):
        title = f"{divergence.expected} against {divergence.found}"
        first = divergence.first
        none = "no tensor differs" if divergence.layers else "not compared"
        verdict = f"differs first at {first.node} ({first.op}), tensor {first.tensor}" if first else none
        chart = to_html(figure(divergence), full_html=False, include_plotlyjs=number == 0, validate=False)
        parts.append(
            f"<h2>{escape(title)}</h2><p>{escape(verdict)}; {len(divergence.layers)} tensors compared on "
            f"{escape(', '.join(divergence.samples))}.</p>{chart}{_notes(divergence)}"
        )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Divergence</title>"
        "<meta name=viewport content='width=device-width'>"
        "<style>body{font:15px system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}</style>"
        f"<h1>Error along the graph</h1>{''.join(parts)}</html>\n"
    )


def figure(divergence: Divergence) -> dict[str, Any]:
    """Points by their place in the graph; the line at 1 is the tolerance."""
    kinds: dict[str, list[Layer]] = {name: [] for name in COLOURS}
    for layer in divergence.layers:
        kinds["starts here" if layer.origin else "differs" if layer.differs else "agrees"].append(layer)
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [layer.place for layer in layers],
            "y": [max(layer.excess, FLOOR) for layer in layers],
            "text": [plain(f"{layer.node} ({layer.op}): {layer.tensor}, {layer.max_abs:.2e}") for layer in layers],
            "hovertemplate": "%{text}<br>%{y:.3g} times allowed<extra></extra>",
            "marker": {"color": COLOURS[name], "size": 10 if name == "starts here" else 6},
        }
        for name, layers in kinds.items()
        if layers
    ]
    return {
        "data": data,
        "layout": {
            "height": 420,
            "xaxis": {"title": {"text": "node, in the order of computation"}},
            "yaxis": {"title": {"text": "difference, times allowed"}, "type": "log", "exponentformat": "power"},
            "shapes": [
                {
                    "type": "line",
                    "xref": "paper",
                    "x0": 0,
                    "x1": 1,
                    "y0": 1,
                    "y1": 1,
                    "line": {"dash": "dot", "width": 1},
                }
            ],
            "legend": {"orientation": "h", "y": 1.1},
            "margin": {"t": 30},
        },
    }


def _notes(divergence: Divergence) -> str:
    lines = list(divergence.notes)
    if divergence.unmatched:
        lines.append(f"Without a counterpart: {', '.join(divergence.unmatched)}")
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
