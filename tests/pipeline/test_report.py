"""The report: right figures, every part of the manifest, no way out for hostile text, and drawn by a real browser."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import report_manifests as manifests
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.compat.findings import Finding
from enginesmith.converters.records import Attempt, Comparison, Latency, TunedKernel, Tuning
from enginesmith.pipeline.manifest import Manifest, StageRecord
from enginesmith.pipeline.report import charts, differences, flow, render, sides, summary, text, write

HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)> \"'&amp; {{ 7*7 }} &lt;"

BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=10000",
    "--enable-logging=stderr",
)


class Page(HTMLParser):
    """What a browser would make of the page: its elements, its text, and all that it would load."""

    LOADS = ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.loads: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.loads += [(tag, value or "") for name, value in attrs if name in self.LOADS]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "elements overlap"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.elements if "id" in attrs]


MANIFESTS = [manifests.detector, manifests.failure, manifests.minimal, manifests.large]


def hostile() -> Manifest:
    """Every free text of a manifest tries to break out of the page."""
    base = manifests.detector(gpu=True)
    finding = Finding(
        severity="error", op=HOSTILE, node=HOSTILE, backend=HOSTILE, versions=HOSTILE, message=HOSTILE, remedy=HOSTILE
    )
    dumped = base.model_dump()
    for stage in dumped["stages"]:
        stage |= {"note": HOSTILE, "error": HOSTILE, "remedy": HOSTILE, "warnings": [HOSTILE], "tools": {HOSTILE: "1"}}
        stage |= {"log": "javascript:alert(1)", "findings": [finding], "ops": {HOSTILE: 3} if stage["ops"] else {}}
        stage |= {"attempts": [Attempt(tool=HOSTILE, seconds=1, error=HOSTILE)]}
        if stage["comparison"]:
            stage["comparison"] |= {"found": f"{stage['id']} {HOSTILE}", "reason": HOSTILE}
            for sample in stage["comparison"]["samples"]:
                sample["outputs"][0]["name"] = HOSTILE
    for engine in dumped["engines"]:
        engine |= {"target": HOSTILE, "path": HOSTILE, "verified_reason": HOSTILE, "details": {HOSTILE: HOSTILE}}
        engine |= {"layers_by_dtype": {HOSTILE: 3}}
    dumped["model"] |= {"name": HOSTILE, "spec": HOSTILE}
    return Manifest.model_validate(dumped | {"command": [HOSTILE], "recipe": {HOSTILE: HOSTILE}})


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
        for finding in stage.findings:
            assert finding.message in page.text
            assert finding.remedy in page.text
        for attempt in stage.attempts:
            assert " ".join(attempt.error.split()) in page.text
        for said in (stage.note, stage.error, stage.remedy, *stage.warnings, *stage.tools, *stage.tools.values()):
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
    assert summary.headline(manifest, summary.anchors(manifest)).title == "Built, but outputs differ"
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
    stage.tuning = Tuning(
        database="/store/db.jsonl", seconds=61, threads=2, machines=1, measurements=8, remembered=3, failed=1, failure="boom",
        kernels=kernels, predicted=0.123, default_ms=10.0, tuned_ms=9.0 if kept else 11.0, kept=kept, stopped="after 60 of 60 s",
    )  # fmt: skip
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


def test_logs_are_linked_on_request() -> None:
    def hrefs(page: str) -> list[str]:
        return [value for tag, value in Page(page).loads if tag == "a" and value.endswith(".log")]

    assert "/build/vit/logs/check%20tensorrt-rtx.log" in hrefs(render(manifests.failure()))
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


def test_comparisons_without_samples_or_outputs_have_empty_states() -> None:
    manifest = manifests.minimal()
    manifest.stages.append(
        StageRecord(
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
    assert differences.largest(comparison) == ("0 of 12", "matched")
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
        "import sys, pathlib; from enginesmith.pipeline.manifest import Manifest; import enginesmith.pipeline.report as r;"
        f"r.render(Manifest.model_validate_json(pathlib.Path({str(tmp_path / 'manifest.json')!r}).read_text()));"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "tvm", "tensorrt", "tensorrt_rtx", "onnxruntime", "onnx"}.intersection(loaded)


# The drawn flow


@st.composite
def plans(draw: st.DrawFn) -> Manifest:
    manifest = manifests.minimal()
    for number in range(draw(st.integers(1, 14))):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        stage = StageRecord(id=f"s{number}", stage="s", status="built", needs={f"r{n}": f"s{n}" for n in needs})
        manifest.stages.append(stage)
    return manifest


@given(plans())
def test_flow_is_readable(manifest: Manifest) -> None:
    drawn = flow.draw(manifest, summary.anchors(manifest))
    assert len(drawn.nodes) == len(manifest.stages)
    for number, node in enumerate(drawn.nodes):
        assert 0 <= node.x <= drawn.width - flow.WIDTH
        assert -1e-6 <= node.y <= drawn.height - flow.HEIGHT + 1e-6
        for other in drawn.nodes[:number]:
            apart = abs(node.x - other.x) >= flow.WIDTH or abs(node.y - other.y) >= flow.HEIGHT + flow.GAP_Y - 1e-6
            assert apart, "nodes overlap"
    places = {node.name: node.x for node in drawn.nodes}
    for stage in manifest.stages:
        assert all(places[need] < places[stage.id] for need in stage.needs.values())


def test_flow_keeps_a_chain_straight_and_leaves_out_what_follows() -> None:
    manifest = manifests.minimal()
    for stage, needs in (("a", []), ("b", ["a"]), ("c", ["a", "b", "no such stage"])):
        manifest.stages.append(StageRecord(id=stage, stage=stage, status="built", needs={n: n for n in needs}))
    drawn = flow.draw(manifest, summary.anchors(manifest))
    assert len(drawn.edges) == 2
    assert len({node.y for node in drawn.nodes}) == 1


def test_flow_names_a_branch_by_its_engine() -> None:
    manifest = manifests.detector()
    nodes = {(n.name, n.engine) for n in flow.draw(manifest, summary.anchors(manifest)).nodes}
    assert {("compile", "tensorrt sm_89"), ("compile", "tvm native"), ("compare precision", "")} <= nodes


def test_flow_marks_a_stage_whose_outputs_differ() -> None:
    manifest = manifests.detector()
    comparison = manifest.stages[2].comparison
    assert comparison
    comparison.verdict = "fail"
    node = next(n for n in flow.draw(manifest, summary.anchors(manifest)).nodes if n.label.startswith("compare export"))
    assert (node.tone, node.status) == ("bad", "✗ differs · 9.5 s")


# How figures are written


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 ms"), (0.02784, "0.0278 ms"), (0.111, "0.111 ms"), (3.11, "3.11 ms"), (141.2, "141 ms"), (2589.4, "2,589 ms")],
)  # fmt: skip
def test_milliseconds(value: float, shown: str) -> None:
    assert text.milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 s"), (0.0004, "1 ms"), (0.25, "250 ms"), (4.21, "4.2 s"), (59.96, "1 min 0 s"), (3840, "1 h 4 min")],
)
def test_seconds(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (84_213_776, "84.2 MB"), (102e6, "102 MB"), (1.64e9, "1.6 GB")],
)
def test_size(value: float, shown: str) -> None:
    assert text.size(value) == shown


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_difference_is_never_rounded_to_nothing(value: float) -> None:
    assert float(text.difference(value)) == pytest.approx(value, rel=0.06)


@pytest.mark.parametrize(
    ("engine", "onnxruntime", "said"),
    [(5, 10, "2.00 times as fast"), (10, 5, "slower than ONNX Runtime: takes 2.00 times"), (10, 10.1, "as fast as"), (0, 1, "no")],
)  # fmt: skip
def test_speed(engine: float, onnxruntime: float, said: str) -> None:
    latency = Latency(engine_ms=engine, onnxruntime_ms=onnxruntime, runs=1, threads=1, load_before=0, load_after=0)
    assert text.speed(latency).startswith(said)


def test_moment() -> None:
    assert text.moment("2026-03-14T09:26:53Z") == text.moment("2026-03-14T11:26:53+02:00") == "2026-03-14 09:26 UTC"
    assert text.moment("yesterday") == "yesterday"


def test_percent_says_all_only_of_all() -> None:
    assert [text.percent(share) for share in (1, 0.99999, 0.5, 0)] == ["100%", "99.9%", "50%", "0%"]


def test_engines_of_one_name_are_told_apart() -> None:
    chart = charts.layers_by_dtype(manifests.large())
    assert chart
    assert chart.figure["data"][0]["y"][:4] == ["tvm native", "tensorrt sm_89", "tvm native (2)", "tensorrt sm_89 (2)"]


# In a browser


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail("no browser to test the report in: apt-get install chromium")
    return found


def browse(chromium: str, folder: Path, page: str, *flags: str) -> tuple[str, list[str]]:
    """The document after its scripts ran, and what they said on the console."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [chromium, *BROWSER_FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def drawn_plots(document: str) -> set[str]:
    return set(re.findall(r'<div id="([^"]+)" class="plot js-plotly-plot"[^>]*><div class="plot-container', document))


@pytest.mark.parametrize("make", [manifests.detector, hostile])
def test_browser_draws_every_chart(chromium: str, tmp_path: Path, make: Callable[[], Manifest]) -> None:
    from PIL import Image

    page = render(make())
    shot = tmp_path / "shot.png"
    document, console = browse(chromium, tmp_path, page, "--window-size=1280,4000", f"--screenshot={shot}")
    assert console == []
    figures = json.loads(Page(page).scripts[0])
    assert drawn_plots(document) == set(figures)
    assert document.count('class="main-svg"') >= len(figures)
    with Image.open(shot) as image:
        image.load()
        assert image.size == (1280, 4000)
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
        assert colours is not None
        assert len(colours) > 500


def test_browser_tells_of_errors(chromium: str, tmp_path: Path) -> None:
    """The tests above would see a script that fails, and a request that the page makes."""
    broken = "<script>nothing.here()</script><img src='http://127.0.0.1:9/x.png' alt=''></body>"
    _, console = browse(chromium, tmp_path, render(manifests.minimal()).replace("</body>", broken))
    assert any("ReferenceError" in line for line in console)
    assert any("Content Security Policy" in line for line in console)


def test_page_is_no_wider_than_a_phone(chromium: str, tmp_path: Path) -> None:
    """In a frame, since a headless window is at least 500 pixels wide."""
    for name, page in (("detector", render(manifests.detector())), ("failure", render(manifests.failure()))):
        frame = (
            '<iframe style="width:390px;height:800px;border:0" '
            "onload=\"document.title = 'width ' + this.contentDocument.documentElement.scrollWidth\" "
            f'srcdoc="{html.escape(page)}"></iframe>'
        )
        folder = tmp_path / name
        folder.mkdir()
        document, console = browse(chromium, folder, f"<!doctype html><title>none</title>{frame}")
        assert console == []
        assert re.findall(r"<title>(width \d+)</title>", document) == ["width 390"]
