"""The page: templates filled with what the other modules make of a manifest.

jinja2, plotly and Pillow are imported inside, since the command line imports this module and has to start quickly.
"""

from __future__ import annotations

import json
import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.printable import LAYOUT, printable, printable_values
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import (
    charts,
    compare,
    coverage,
    engines,
    flow,
    layers,
    pictures,
    precision,
    repairs,
    stages,
    summary,
    text,
    tune,
)

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(manifest: Manifest, log_links: bool = True) -> str:
    """The whole page. Without `log_links`, logs are named but not linked: for a page that leaves its machine."""
    hrefs = summary.anchors(manifest)
    compared = compare.comparisons(manifest, hrefs)
    engine_charts = [chart for chart in (charts.latencies(manifest), charts.layers_by_dtype(manifest)) if chart]
    operators = charts.operators(manifest)
    lowered = precision.view(manifest, hrefs)
    layered = layers.views(manifest)
    drawn = [
        *engine_charts,
        *(view.chart for view in layered if view.chart),
        *(lowered.charts if lowered else []),
        *(chart for view in compared for chart in view.charts),
        *([operators] if operators else []),
    ]
    return (
        environment()
        .get_template("page.html")
        .render(
            manifest=manifest,
            hrefs=hrefs,
            headline=summary.headline(manifest, hrefs),
            failures=summary.failures(manifest, hrefs),
            random_weights=summary.random_weights(manifest),
            facts=summary.facts(manifest),
            warnings=summary.warnings(manifest, hrefs),
            cards=engines.cards(manifest),
            engine_charts=engine_charts,
            layers=layered,
            precision=lowered,
            tunings=tune.views(manifest, hrefs),
            flow=flow.draw(manifest, hrefs),
            rows=stages.rows(manifest, hrefs, log_links),
            comparisons=compared,
            exercised=coverage.views(manifest, hrefs),
            compatibility=repairs.views(manifest, hrefs),
            galleries=pictures.galleries(manifest),
            operators=operators,
            tools=summary.tools(manifest),
            recipe=summary.recipe(manifest),
            style=raw("style.css"),
            figures=script_json({chart.id: chart.figure for chart in drawn}),
            plotly=plotly_script() if drawn else "",
        )
    )


def write(manifest: Manifest, path: Path) -> None:
    """Render into a file."""
    write_page(render(manifest), path)


def write_page(page: str, path: Path) -> None:
    """Write atomically: a reader sees the old page or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)


@cache
def environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": text.count,
        "seconds": text.seconds,
        "size": text.size,
        "counted": text.counted,
    }
    environment.globals["symbol"] = summary.SYMBOL
    return environment


def _shown(value: object) -> object:
    """Names come from strangers: what turns or hides text is shown as an escape."""
    from markupsafe import Markup

    return printable(value, LAYOUT) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def raw(name: str) -> Markup:
    from markupsafe import Markup

    return Markup(_read(name))


def plotly_script() -> Markup:
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def script_json(value: object) -> Markup:
    """JSON that can stand inside a script element: no sign in it can end the element or open a comment."""
    from markupsafe import Markup

    plain = json.dumps(printable_values(value), allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        plain = plain.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(plain)
