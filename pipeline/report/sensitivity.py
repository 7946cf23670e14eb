"""The page of `enginesmith sensitivity`: the layers ranked by what each alone loses in a lower precision."""

from __future__ import annotations

from pathlib import Path

from enginesmith.converters.core.records import LayerLoss, SensitivityRecord
from enginesmith.pipeline.report import precision_charts, text
from enginesmith.pipeline.report.page import environment, plotly_script, raw, script_json, write_page


def render_sensitivity(name: str, record: SensitivityRecord) -> str:
    """The whole page, for the model called `name`."""
    chart = precision_charts.sensitivity(record.layers, STAGE)
    reasons: dict[str, list[str]] = {}
    for node, reason in record.barred.items():
        reasons.setdefault(reason, []).append(node)
    if record.left:
        reasons["no time was left to measure them; they save least"] = record.left
    return (
        environment()
        .get_template("sensitivity.html")
        .render(
            name=name,
            record=record,
            baseline=text.of_metric(record.baseline),
            rows=[_row(number, layer) for number, layer in enumerate(record.layers, 1)],
            reasons=sorted(reasons.items(), key=lambda item: -len(item[1])),
            chart=chart,
            style=raw("style.css"),
            figures=script_json({chart.id: chart.figure} if chart else {}),
            plotly=plotly_script() if chart else "",
        )
    )


def write_sensitivity(name: str, record: SensitivityRecord, path: Path) -> None:
    """Render into a file."""
    write_page(render_sensitivity(name, record), path)


STAGE = "layers"


def _row(number: int, layer: LayerLoss) -> tuple[int, str, str, str, str, str]:
    saved = text.NOTHING if layer.saved is None else f"≈ {text.milliseconds(layer.saved)}"
    return number, layer.node, layer.op, text.lost(layer.loss), text.percent(layer.error), saved
