"""The report's precision section: figures, cautions, candidates, reasons, and the whole in a browser."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
import report_manifests as manifests
from browser import browse, chromium, drawn_plots
from report_pages import HOSTILE, Page

from enginesmith.converters.core.facts import JudgedFacts
from enginesmith.converters.core.records import Accuracy, Candidate, Kept, LayerLoss, Lowering, Search
from enginesmith.converters.precision.facts import LoweredFacts
from enginesmith.converters.stages.search import SearchFacts
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import precision, precision_charts, render, summary

__all__ = ["chromium"]  # the fixture
COUNTS = {"int8": 48, "float16": 6, "float32": 2}
RAISED = "with it in int8, the mix lost more than the budget"


def candidate(name: str, ms: float, loss: float, *, within: bool, chosen: bool = False) -> Candidate:
    return Candidate(
        name=name, products=COUNTS, size=int(9e6 * ms), milliseconds=ms, accuracy=0.87 - loss, loss=loss,
        within=within, chosen=chosen,
    )  # fmt: skip


def searched(layers: int = 40, **more: object) -> Search:
    losses = [
        LayerLoss(node=f"/backbone/layer{n // 8}/block{n % 8}/conv2/Conv", op="Conv", precision="int8", loss=0.02 / (n + 1),
                  error=0.2 / (n + 1), saved=0.01)
        for n in range(layers)
    ]  # fmt: skip
    fields: dict[str, object] = {
        "budget": 0.005,
        "layers": losses,
        "reference": candidate("56 fp32", 2.6, 0.0, within=True),
        "candidates": [
            candidate("56 fp16", 1.31, 0.0001, within=True),
            candidate("54 int8, 2 fp16", 0.92, 0.0214, within=False),
            candidate("48 int8, 8 fp16", 0.99, 0.0046, within=True, chosen=True),
            candidate("41 int8, 15 fp16", 1.07, -0.0003, within=True),
        ],
        "precisions": {losses[0].node: "fp16"} if losses else {},
        "reasons": {**{found.node: RAISED for found in losses[:6]}, "/roi/MatMul": "both its factors are activations"},
        "options": "mse, bias corrected",
        "examples": 16,
    }
    return Search.model_validate(fields | more)


class _Judged(LoweredFacts, JudgedFacts):
    """Of a graph in a lower precision that was judged at once."""


def manifest(search: Search | None = None, *, weak: bool = False, after: float = 0.8654) -> Manifest:
    made = manifests.detector()
    stage = next(stage for stage in made.stages if stage.id == "precision")
    lowering = Lowering(
        dtype="int8", nodes_by_dtype={"int8": 60, "float16": 100, "float32": 40}, products_by_dtype=COUNTS, casts=12,
        weights_before=33_000_000, weights_after=9_000_000,
        kept=[Kept(node="/rpn/NonMax/MatMul", op="MatMul", reason="what it computes chooses elements or positions", product=True),
              Kept(node="/softmax", op="Softmax", reason="exponentials lose too much", product=False)],
    )  # fmt: skip
    accuracy = Accuracy(
        metric="mAP@0.5", data="200 held-out pictures", examples=200, weak=weak, before=0.87, after=after, budget=0.005
    )
    told = {"lowering": lowering, "accuracy": accuracy, "search": search}
    stage.facts = SearchFacts(**told) if search else _Judged(**told)
    made.engines[1].products_built = {"convolutions": {"int8": 40, "float16": 5}}
    return made


def test_accuracy_is_shown_before_and_after() -> None:
    page = Page(render(manifest(searched())))
    assert "0.8654 after, 0.8700 before: 0.0046 lost" in page.text
    assert "within the budget of 0.0050" in page.text
    assert "A weak measure" not in page.text
    assert "over the budget of 0.0050" in Page(render(manifest(after=0.85))).text


def test_what_was_gained_is_no_loss_below_zero() -> None:
    assert "before: 0.0012 gained" in Page(render(manifest(after=0.8712))).text


def test_a_weak_measure_is_cautioned() -> None:
    assert "A weak measure: the data has no labels" in Page(render(manifest(weak=True))).text


def test_types_of_the_graph_stand_beside_those_of_the_parsed_network() -> None:
    page = Page(render(manifest()))
    assert "Where What int8 float16 float32 int32" in page.text
    assert "graph (precision) products 48 6 2" in page.text
    assert "network of tensorrt sm_89 convolutions 40 5" in page.text


def test_candidates_in_order_with_the_chosen_one_marked() -> None:
    page = Page(render(manifest(searched())))
    assert "3 48 int8, 8 fp16 ✓ chosen 8.9 MB ≈ 0.990 ms 0.8654 0.0046" in page.text
    assert "2 54 int8, 2 fp16 ! over the budget 8.3 MB ≈ 0.920 ms 0.8486 0.0214" in page.text
    assert "4 41 int8, 15 fp16 \N{EN DASH} within the budget 9.6 MB ≈ 1.07 ms 0.8703 0.0003 gained" in page.text
    assert "0 56 fp32 \N{EN DASH} as it was 23.4 MB ≈ 2.60 ms 0.8700 0" in page.text
    assert "is no measurement" in page.text
    assert "mse, bias corrected" in page.text


def test_measured_latencies_are_not_called_estimates() -> None:
    search = searched()
    assert search.reference
    for found in (search.reference, *search.candidates):
        found.measured = True
    page = Page(render(manifest(search)))
    assert "≈" not in page.text
    chart = precision_charts.candidates(search, "x")
    assert chart
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "measured milliseconds"


def test_a_budget_that_nothing_meets_says_by_how_much() -> None:
    search = searched(candidates=[candidate("56 fp16", 1.3, 0.0211, within=False)], stopped="after 600 s")
    page = Page(render(manifest(search)))
    assert "none is within the budget: 56 fp16 misses it by 0.0161" in page.text
    assert "Ended early after 600 s" in page.text


def test_reasons_are_grouped_and_hold_what_each_layer_costs() -> None:
    page = Page(render(manifest(searched())))
    assert f"6 layers: {RAISED}" in page.text
    assert "/backbone/layer0/block0/conv2/Conv Conv int8 alone: 0.0200 lost, outputs change by 20%" in page.text
    assert "1 layer: what it computes chooses elements or positions /rpn/NonMax/MatMul MatMul" in page.text
    section = page.text.partition("Layers in a higher precision")[2].partition("How it was built")[0]
    assert "/softmax" not in section.partition("Differences between stages")[0]


def test_the_plot_tells_candidates_apart_by_sign_and_draws_the_budget() -> None:
    chart = precision_charts.candidates(searched(), "x")
    assert chart
    signs = {trace["name"]: trace["marker"]["symbol"] for trace in chart.figure["data"]}
    assert signs == {
        "chosen": "star", "within the budget": "circle", "over the budget": "x", "as it was": "diamond-open",
    }  # fmt: skip
    assert chart.figure["layout"]["shapes"][0]["y0"] == 0.005
    low, high = chart.figure["layout"]["yaxis"]["range"]
    assert low < -0.0003
    assert high > 0.0214


def test_the_most_harmful_layers_are_drawn_with_labels_of_their_own() -> None:
    chart = precision_charts.sensitivity(searched(90).layers, "x")
    assert chart
    bars = chart.figure["data"][0]
    assert len(bars["y"]) == len(set(bars["y"])) == precision_charts.MOST_LAYERS
    assert bars["x"] == sorted(bars["x"], reverse=True)
    assert "30 most harmful of 90" in chart.title
    assert precision_charts.sensitivity([], "x") is None


def test_each_precision_that_was_ranked_has_a_chart() -> None:
    search = searched(8)
    search.layers += [LayerLoss(node="/head/Gemm", op="Gemm", precision="fp16", loss=0.1, error=0.2)]
    search.reasons["/head/Gemm"] = "with it in fp16, the mix lost more than the budget"
    page = Page(render(manifest(search)))
    assert len([name for name in page.ids() if name.endswith(("-int8", "-fp16", "-candidates"))]) == 3
    assert "/head/Gemm Gemm fp16 alone: 0.1000 lost" in page.text


def test_layers_are_ranked_by_the_metric_where_no_error_was_measured() -> None:
    layers = [
        LayerLoss(node="a", op="Conv", precision="fp16", loss=0.1),
        LayerLoss(node="b", op="Gemm", precision="fp16", loss=0.3),
    ]
    chart = precision_charts.sensitivity(layers, "x")
    assert chart
    assert chart.figure["data"][0]["y"] == ["b", "a"]
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "loss of the metric"


def test_a_build_in_float32_has_no_such_section() -> None:
    assert precision.view(manifests.failure(), summary.anchors(manifests.failure())) is None
    assert "precision" not in Page(render(manifests.failure())).ids()


def hostile() -> Manifest:
    search = searched()
    for found in search.layers:
        found.node += HOSTILE
    for shown in search.candidates:
        shown.name = HOSTILE
    search.reasons = {HOSTILE: HOSTILE}
    search.stopped = search.options = HOSTILE
    made = manifest(search, weak=True)
    ((_, facts),) = made.told(JudgedFacts)
    facts.accuracy = facts.accuracy.model_copy(update={"metric": HOSTILE, "data": HOSTILE})
    return made


def test_hostile_text_stays_text() -> None:
    page = Page(render(hostile()))
    assert not [tag for tag, _ in page.elements if tag in ("img", "iframe", "object")]
    assert page.text.count(HOSTILE) > 10


@pytest.mark.parametrize("make", [lambda: manifest(searched()), hostile, lambda: manifest(searched(0, candidates=[]))])
def test_browser_draws_the_section(chromium: str, tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    page = render(make())
    document, console = browse(chromium, tmp_path, page)
    assert console == []
    figures = json.loads(Page(page).scripts[0])
    assert drawn_plots(document) == set(figures)


def test_section_is_no_wider_than_a_phone(chromium: str, tmp_path: Path) -> None:
    frame = (
        '<iframe style="width:390px;height:800px;border:0" '
        "onload=\"document.title = 'width ' + this.contentDocument.documentElement.scrollWidth\" "
        f'srcdoc="{html.escape(render(manifest(searched(), weak=True)))}"></iframe>'
    )
    document, console = browse(chromium, tmp_path, f"<!doctype html><title>none</title>{frame}")
    assert console == []
    assert re.findall(r"<title>(width \d+)</title>", document) == ["width 390"]
