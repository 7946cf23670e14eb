"""The report: right figures, every part of the manifest, and no way out for hostile text."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import report_manifests as manifests
from report_pages import HOSTILE, MANIFESTS, Page, hostile

from enginesmith.converters.core.comparisons import Comparison, Coverage, SelfCheck, Unexercised
from enginesmith.converters.core.facts import ModelFacts
from enginesmith.converters.core.records import TunedKernel, Tuning
from enginesmith.converters.stages.tune import TuneFacts
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import charts, compare, render, sides, summary, write


@pytest.mark.parametrize("make", [*MANIFESTS, hostile])
def test_page_loads_nothing(make: Callable[[], Manifest]) -> None:
    page = Page(render(make()))
    outside = [(tag, value[:80]) for tag, value in page.loads if not value.startswith(("#", "data:image/jpeg;base64,"))]
    assert all(tag == "a" and re.match(r"(/|logs/|javascript%3A)", value) for tag, value in outside)
    assert not page.open
    policy = next(attrs["content"] for tag, attrs in page.elements if "http-equiv" in attrs)
    assert policy
    assert "default-src 'none'" in policy
    assert "http" not in policy


@pytest.mark.parametrize("make", [*MANIFESTS, hostile])
def test_links_within_the_page_have_targets(make: Callable[[], Manifest]) -> None:
    page = Page(render(make()))
    ids = page.ids()
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, value in page.loads if value.startswith("#")}
    assert targets <= set(ids)


def test_hostile_text_stays_text() -> None:
    page = Page(render(hostile()))
    assert not [tag for tag, _ in page.elements if tag in ("img", "iframe", "object", "link", "base", "form")]
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 3
    assert page.text.count(HOSTILE) > 50
    assert "49" not in [word.strip() for word in page.words if "7" in word]
    assert not [value for _, value in page.loads if value.lower().startswith("javascript:")]


@pytest.mark.parametrize("make", MANIFESTS)
def test_everything_appears(make: Callable[[], Manifest]) -> None:
    manifest = make()
    page = Page(render(manifest))
    for stage in manifest.stages:
        assert stage.id in page.text
        for finding in stage.facts.findings:
            assert finding.message in page.text
            assert finding.remedy in page.text
        for attempt in getattr(stage.facts, "attempts", []):
            assert " ".join(attempt.error.split()) in page.text
        for said in (
            stage.facts.note,
            stage.error,
            stage.remedy,
            *stage.facts.warnings,
            *stage.tools,
            *stage.tools.values(),
        ):
            assert " ".join(said.split()) in page.text
    for engine in manifest.engines:
        for said in (engine.backend, engine.target, engine.path, engine.sha256, engine.verified_reason):
            assert said in page.text
    for warning in manifest.warnings:
        assert warning in page.text
    for said in (manifest.model.spec, manifest.precision, manifest.machine.cpu, manifest.created):
        assert said in page.text
    assert f"manifest schema {manifest.schema_version}" in page.text


def test_numbers() -> None:
    page = Page(render(manifests.detector(gpu=True)))
    assert "141 ms beside 259 ms of ONNX Runtime (ratio 0.55) 1.83 times as fast as ONNX Runtime" in page.text
    assert "3.11 ms beside 1.52 ms of ONNX Runtime (ratio 2.05) Slower than ONNX Runtime: takes 2.05" in page.text
    assert "The machine was busy: load 2.6 before the timing of 2 threads on 2 cores." in page.text
    assert "84.2 MB" in page.text
    # Nodes of export, and of simplify with the change.
    assert "735" in page.text
    assert "266 (-469)" in page.text
    # The worst sample of `boxes`: 8.3e-4 by 1 + 3/3.
    assert "boxes 0.0017 4.2e-5 5.5e-4 0.1 + 0.001 rel ✓ 4 of 4" in page.text
    assert "12 of 12 detections matched" in page.text
    assert "3 min 5 s" in page.text
    assert "6 min 42 s" in page.text


def test_classes() -> None:
    page = Page(render(manifests.failure()))
    assert "top-1 95.8%" in page.text
    assert "top-5 100%" in page.text
    assert "worst top-1 87.5%" in page.text


def test_each_side_of_a_chain_is_drawn_once_and_each_picture_embedded_once() -> None:
    page = Page(render(manifests.detector()))
    panels = [attrs["aria-label"] or "" for tag, attrs in page.elements if attrs.get("class") == "picture"]
    stages = ("PyTorch", "ONNX Runtime (export)", "ONNX Runtime (precision)", "tvm native")
    assert [label.partition(":")[0] for label in panels[:4]] == [f"astronaut, {stage}" for stage in stages]
    assert len(panels) == len(manifests.PICTURES) * len(stages)
    assert panels[0].endswith("3 detections: 1: 0.98, 17: 0.87, 47: 0.51")
    assert len([tag for tag, _ in page.elements if tag == "image"]) == len(manifests.PICTURES)


@pytest.mark.parametrize(
    ("manifest", "title"),
    [
        (manifests.detector(), "Built, 1 of 2 engines verified"),
        (manifests.detector(gpu=True), "Built and verified"),
        (manifests.failure(), "Build failed"),
        (manifests.minimal(), "Finished without an engine"),
    ],
)
def test_verdict(manifest: Manifest, title: str) -> None:
    assert summary.headline(manifest, summary.anchors(manifest)).title == title
    assert title in Page(render(manifest)).text


def test_verdict_names_engines_that_differ_or_were_not_run() -> None:
    manifest = manifests.detector(gpu=True)
    manifest.engines[1].verified = "no"
    assert summary.headline(manifest, summary.anchors(manifest)).title == "Built, not verified"
    manifest.engines[1].verified, manifest.engines[1].verified_reason = "proves nothing", "random weights"
    detail = summary.headline(manifest, summary.anchors(manifest)).detail
    assert "the comparison proves nothing: random weights" in detail
    for engine in manifest.engines:
        engine.verified, engine.verified_reason = "not run", "no GPU"
    assert summary.headline(manifest, summary.anchors(manifest)).detail == "No engine was run: no GPU."


def test_random_weights_are_said_at_the_top() -> None:
    assert "Random weights (seed 0; no network to fetch COCO_V1)." in Page(render(manifests.detector())).text
    assert "Random weights" not in Page(render(manifests.failure())).text


def test_failure_is_said_at_the_top_with_its_remedy() -> None:
    page = Page(render(manifests.failure()))
    head = page.text.partition("Engines No engine was built.")[0]
    assert "assertion failed: (a < b) && creator" in head
    assert "Apply the repair unfuse-matmul" in head


@pytest.mark.parametrize("kept", [True, False])
def test_a_search_for_schedules_says_what_it_brought(kept: bool) -> None:
    manifest = manifests.detector()
    kernels = [
        TunedKernel(kernel="3x3 thing", calls=2, measurements=7, failed=1, default_ms=0.5, best_ms=0.4, schedule={"rows": 4}),
        TunedKernel(kernel="1x1 thing", calls=1, measurements=0, failed=0, default_ms=0.0, best_ms=0.0),
    ]  # fmt: skip
    stage = next(stage for stage in manifest.stages if stage.backend == "tvm")
    tuning = Tuning(
        database="/store/db.jsonl", seconds=61, threads=2, machines=1, measurements=8, remembered=3, failed=1, failure="boom",
        kernels=kernels, predicted=0.123, default_ms=10.0, tuned_ms=9.0 if kept else 11.0, kept=kept, stopped="after 60 of 60 s",
    )  # fmt: skip
    stage.facts = TuneFacts(tuning=tuning)
    page = Page(render(manifest)).text
    for words in (
        "3x3 thing",
        "20.0%",
        "1.00 ms",
        "0.800 ms",
        "rows 4",
        "not reached",
        "12.3 %",
        "boom",
        "/store/db.jsonl",
    ):
        assert words in page
    assert "8 measurements in 1 min 1 s, going on from 3 of earlier runs" in page
    assert ("built with the schedules found" in page) == kept
    assert ("default schedules were kept" in page) != kept


def test_what_the_samples_do_not_exercise_is_listed() -> None:
    manifest = manifests.detector()
    told = [stage for stage in manifest.stages if isinstance(stage.facts, ModelFacts)]
    assert "What the samples show" not in render(manifest)
    told[0].facts.coverage = Coverage(
        conditions=1976,
        samples=4,
        searched=1,
        refused=["<b>wide</b>: IndexError: index out of range"],
        unexercised=[Unexercised(node="/rpn/Clip", op="Clip", unseen=["an input above the maximum"])],
    )
    page = render(manifest)
    assert "4 samples show 1,975 of 1,976 things" in page
    assert "not exercised: 1 node" in page
    assert "<code>/rpn/Clip</code>" in page
    assert "an input above the maximum" in page
    assert "&lt;b&gt;wide&lt;/b&gt;: IndexError" in page
    found = Page(page)
    assert {value[1:] for _, value in found.loads if value.startswith("#")} <= set(found.ids())


def test_logs_are_linked_on_request() -> None:
    def hrefs(page: str) -> list[str]:
        return [value for tag, value in Page(page).loads if tag == "a" and value.endswith(".log")]

    assert "/build/vit/logs/compile%20tensorrt-rtx%20sm_120.log" in hrefs(render(manifests.failure()))
    assert hrefs(render(manifests.failure(), log_links=False)) == []


def test_differences_that_are_no_numbers() -> None:
    """An engine whose outputs overflowed: the report has to say so, and its charts to be valid JSON."""
    manifest = manifests.failure()
    comparison = manifest.stages[1].comparison
    assert comparison
    for number, value in enumerate((math.nan, math.inf, 0.0)):
        output = comparison.samples[number].outputs[0]
        output.max_abs = output.mean_abs = output.max_rel = value
    page = Page(render(manifest))
    assert "logits NaN NaN NaN" in page.text
    assert "∞" in page.text
    figures = json.loads(page.scripts[0], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert figures


def test_what_an_engine_answers_held_against_itself_is_shown() -> None:
    manifest = manifests.detector()
    comparison = next(stage.comparison for stage in manifest.stages if stage.comparison)
    comparison.consistency = [
        SelfCheck(check="repeated", of="tvm", verdict="pass", calls=17),
        SelfCheck(check="equal rows", of="tvm", verdict="fail", calls=3, reason="row 0 among others: output y differs"),
    ]
    text = Page(render(manifest)).text
    assert "Held against itself" in text
    assert "equal rows 3 ✗ fail row 0 among others: output y differs" in text


def test_comparisons_without_samples_or_outputs_have_empty_states() -> None:
    manifest = manifests.minimal()
    manifest.stages.append(
        manifests.recorded(
            id="compare x", stage="compare", status="not run", error="no GPU",
            comparison=Comparison(expected="a", found="b", verdict="not run", reason="no GPU"),
        )
    )  # fmt: skip
    page = Page(render(manifest))
    assert "not run: no GPU" in page.text or "not run Stage compare x no GPU" in page.text
    assert not [attrs for _, attrs in page.elements if attrs.get("class") == "plot"]
    assert len(page.scripts) == 1, "a page without charts needs no plotly"


def test_sides_are_named_apart_and_every_stage_is_judged_by_its_own_comparison() -> None:
    judged = sides.judgements(manifests.detector())
    assert {
        stage: (side.found, side.expected) for stage, side in judged.items() if not stage.startswith("compare")
    } == {
        "export": ("ONNX Runtime (export)", "PyTorch"),
        "precision": ("ONNX Runtime (precision)", "ONNX Runtime (export)"),
        "compile tvm native": ("tvm native", "ONNX Runtime (precision)"),
        "compile tensorrt sm_89": ("tensorrt sm_89", "ONNX Runtime (precision)"),
    }
    not_run = judged["compile tensorrt sm_89"].comparison
    assert (not_run.verdict, not_run.reason) == ("not run", "no GPU on this machine")


def test_detections_alone_are_summed_up_by_their_overlap() -> None:
    manifest = manifests.detector()
    for stage in manifest.stages:
        for sample in stage.comparison.samples if stage.comparison else []:
            sample.outputs = []
    page = Page(render(manifest))
    assert "0.9987 IoU" in page.text
    comparison = manifest.stages[2].comparison
    assert comparison
    for sample in comparison.samples:
        assert sample.detections
        sample.detections.matched = 0
    assert compare.largest(comparison) == ("0 of 12", "matched")
    assert not [identity for identity in page.ids() if identity.endswith(("-histogram", "-samples"))]


@pytest.mark.parametrize("make", [*MANIFESTS, hostile])
def test_figures_are_valid(make: Callable[[], Manifest]) -> None:
    """Plotly's own validation, which the page does without; the style sheet's colours stand in for their names."""
    import plotly.graph_objects as go

    scripts = Page(render(make())).scripts
    figures = json.loads(scripts[0]) if len(scripts) > 1 else {}
    for figure in figures.values():
        go.Figure(json.loads(re.sub(r'"--[a-z0-9]+"', '"#123456"', json.dumps(figure))))


def test_colours_of_the_charts_are_in_the_style_sheet() -> None:
    page = render(manifests.detector())
    named = set(re.findall(r'"(--[a-z0-9]+)"', Page(page).scripts[0]))
    assert named
    for theme in re.findall(r":root \{(.*?)\}", page, re.DOTALL)[:2]:
        assert named <= set(re.findall(r"(--[a-z0-9]+):", theme))


def test_rendering_is_quick_and_repeatable() -> None:
    manifest = manifests.large()
    first = render(manifest)
    began = time.process_time()
    assert render(manifest) == first
    assert time.process_time() - began < 15


def test_write_replaces_the_page_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    manifest = manifests.failure()
    write(manifest, path)
    assert path.read_text(encoding="utf-8") == render(manifest)
    assert list(tmp_path.iterdir()) == [path]


def test_import_is_cheap() -> None:
    code = "import sys, enginesmith.pipeline.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    frameworks = {"torch", "tvm", "tensorrt", "tensorrt_rtx", "onnxruntime"}
    assert not frameworks.union({"plotly", "jinja2", "PIL", "numpy", "yaml"}).intersection(loaded)


def test_rendering_imports_no_framework(tmp_path: Path) -> None:
    manifests.detector().write(tmp_path / "manifest.json")
    code = (
        "import sys, pathlib; from enginesmith.pipeline.job.manifest import Manifest; import enginesmith.pipeline.report as r;"
        f"r.render(Manifest.model_validate_json(pathlib.Path({str(tmp_path / 'manifest.json')!r}).read_text()));"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "tvm", "tensorrt", "tensorrt_rtx", "onnxruntime", "onnx"}.intersection(loaded)


def test_engines_of_one_name_are_told_apart() -> None:
    chart = charts.layers_by_dtype(manifests.large())
    assert chart
    assert chart.figure["data"][0]["y"][:4] == ["tvm native", "tensorrt sm_89", "tvm native (2)", "tensorrt sm_89 (2)"]
