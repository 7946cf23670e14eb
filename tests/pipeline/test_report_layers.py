"""The report's section on layers: right figures, nothing left out of the sums, nothing invented, usable for large networks."""

from __future__ import annotations

import html
import io
import json
import re
from pathlib import Path

import report_manifests as manifests
from browser import browse, chromium, drawn_plots
from report_pages import HOSTILE, Page
from rich.console import Console

from enginesmith.converters.core.engine_layers import Group, Layer, Profile, Rates, behind, told
from enginesmith.pipeline.cli.terminal import show_manifest
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import render

__all__ = ["chromium"]  # the fixture


def layer(number: int, kernel: str = "convolution", *, ours: bool = True, flops: int = 200_000_000) -> Layer:
    return Layer(
        function=f"{kernel}_{number}", kernel=kernel, ours=ours, nodes=[f"/layer{number}/conv", f"/layer{number}/relu"],
        ops=["Conv", "Relu"], shape=[1, 4, 58, 58, 16], flops=flops, bytes=3_000_000,
    )  # fmt: skip


def manifest(found: list[Layer], times: list[float], reference: list[float], **more: object) -> Manifest:
    """One group for each layer."""
    rates = Rates(gflops=200, gflops_one=100, gbytes=40, gbytes_one=20)
    groups = [
        Group(
            layers=[i], kernels=["Conv"], nodes=one.nodes, ops=one.ops, engine_ms=times[i], onnxruntime_ms=reference[i]
        )
        for i, one in enumerate(found)
    ]
    fields: dict[str, object] = {
        "threads": 2, "runs": 30, "layers_ms": times, "engine_ms": sum(times) + 0.5, "onnxruntime_ms": sum(reference) + 1,
        "onnxruntime_kernels_ms": sum(reference), "groups": groups, "before": rates, "after": rates,
    }  # fmt: skip
    made = manifests.detector()
    made.engines[0].kernels = found
    made.engines[0].profile = Profile.model_validate(fields | more)
    return made


def lost(made: Manifest) -> str:
    profile = made.engines[0].profile
    assert profile
    return told(behind(profile, made.engines[0].kernels))


FOUR = [
    layer(0),
    layer(1, "winograd4", flops=900_000_000),
    layer(2, "softmax", ours=False, flops=0),
    layer(3, flops=1_000_000),
]
TIMES, REFERENCE = [2.0, 3.0, 0.5, 0.1], [1.5, 8.0, 0.4, 0.12]


def test_the_summary_adds_up() -> None:
    page = Page(render(manifest(FOUR, TIMES, REFERENCE)))
    assert (
        "6.10 ms in all: 5.10 ms in 3 kernels of ours, 0.500 ms in 1 layer of TVM's own lowering, 0.500 ms between"
        in page.text
    )
    assert "ONNX Runtime takes 11.0 ms, 10.0 ms of it in its kernels" in page.text
    assert (
        "200 GFLOP/s (100 on one) in registers and moves 40 GB/s (20 on one) beyond its caches on 2 threads"
        in page.text
    )
    assert "not quiet" not in page.text
    assert "only a part" not in page.text


def test_rows_are_slowest_first_with_work_and_peak() -> None:
    page = Page(render(manifest(FOUR, TIMES, REFERENCE)))
    section = page.text.partition("Slowest first")[2]
    assert "Conv+Relu /layer1/relu winograd4 1x4x58x58x16 3.00 ms 8.00 ms 0.38 300 150% 1 arithmetic" in section
    assert "Conv+Relu /layer0/relu convolution 1x4x58x58x16 2.00 ms 1.50 ms 1.33 100 50% 2 arithmetic" in section
    assert "softmax (TVM) 1x4x58x58x16 0.500 ms 0.400 ms 1.25 \N{EN DASH} \N{EN DASH} 6 memory" in section
    assert section.index("/layer1/") < section.index("/layer0/") < section.index("/layer2/") < section.index("/layer3/")
    assert "can so pass the peak" in page.text


def test_kinds_are_summed() -> None:
    page = Page(render(manifest(FOUR, TIMES, REFERENCE)))
    kinds = page.text.partition("Kind of kernel")[2].partition("Slowest first")[0]
    assert "convolution 2 2.10 ms 1.62 ms 1.30 96 48%" in kinds


def test_it_says_where_onnx_runtime_is_ahead() -> None:
    made = manifest(FOUR, TIMES, REFERENCE)
    line = "ONNX Runtime is ahead in Conv+Relu /layer0/relu (by 0.5 ms), Conv+Relu /layer2/relu (by 0.1 ms)"
    assert lost(made) == line
    assert line in Page(render(made)).text
    assert lost(manifest(FOUR, TIMES, [9.0] * 4)) == ""
    many = manifest([layer(n) for n in range(9)], [2.0] * 9, [1.0] * 9)
    assert lost(many).endswith("/layer2/relu (by 1 ms), and 6 more")
    equal = [layer(n).model_copy(update={"function": "convolution"}) for n in range(9)]
    assert lost(manifest(equal, [1.1] * 8 + [1.2], [1.0] * 9)) == (
        "ONNX Runtime is ahead in Conv+Relu /layer8/relu and 8 like it (by 1 ms)"
    )


def test_a_machine_that_changes_is_cautioned() -> None:
    slow = Rates(gflops=90, gflops_one=80, gbytes=40, gbytes_one=20)
    page = Page(render(manifest(FOUR, TIMES, REFERENCE, before=slow)))
    assert "The machine was not quiet: 90 GFLOP/s before the layers were timed, 200 after." in page.text
    page = Page(render(manifest(FOUR, TIMES, REFERENCE, engine_ms=12.0)))
    assert "Layers fill only a part of the inference" in page.text
    alone = Rates(gflops=110, gflops_one=100, gbytes=40, gbytes_one=20)
    page = Page(render(manifest(FOUR, TIMES, REFERENCE, before=alone, after=alone)))
    assert "2 threads reach 110 GFLOP/s where one alone reaches 100: other processes have the cores" in page.text


def test_an_engine_that_did_not_run_has_no_times() -> None:
    made = manifests.detector()
    made.engines[1].kernels = FOUR
    page = Page(render(made))
    section = page.text.partition("Kind of kernel")[2].partition("How it was built")[0]
    assert "Not run: no GPU on this machine. No layer was timed." in page.text
    assert "convolution 2" in section
    assert " ms" not in section.partition("Differences")[0].partition("Precision")[0].partition("Stages")[0]


def test_without_kernels_there_is_no_section() -> None:
    assert 'id="layers"' not in render(manifests.detector())


def test_names_are_text() -> None:
    found = [layer(0).model_copy(update={"nodes": [HOSTILE], "kernel": HOSTILE})]
    assert HOSTILE not in render(manifest(found, [1.0], [1.0]))


def test_a_network_of_thousands_stays_small_and_whole() -> None:
    count = 2500
    found = [layer(n, f"kind {n % 40}") for n in range(count)]
    made = manifest(found, [1.0 + n / count for n in range(count)], [1.0] * count)
    small = len(render(manifest(FOUR, TIMES, REFERENCE)))
    page = render(made)
    assert len(page) - small < 1_000_000
    text = Page(page).text
    assert "2,200 others, in the manifest" in text
    assert "271 faster ones" in text


def test_browser_draws_the_section(chromium: str, tmp_path: Path) -> None:
    name = "/block/some/rather/long/name/of/a/node"
    found = [FOUR[n % 4].model_copy(update={"nodes": [f"{name}{n}"]}) for n in range(2500)]
    page = render(manifest(found, [TIMES[n % 4] for n in range(2500)], [REFERENCE[n % 4] for n in range(2500)]))
    document, console = browse(chromium, tmp_path, page)
    assert console == []
    assert drawn_plots(document) == set(json.loads(Page(page).scripts[0]))
    assert "layers-1-chart" in drawn_plots(document)


def test_section_is_no_wider_than_a_phone(chromium: str, tmp_path: Path) -> None:
    frame = (
        '<iframe style="width:390px;height:800px;border:0" '
        "onload=\"document.title = 'width ' + this.contentDocument.documentElement.scrollWidth\" "
        f'srcdoc="{html.escape(render(manifest(FOUR, TIMES, REFERENCE)))}"></iframe>'
    )
    document, console = browse(chromium, tmp_path, f"<!doctype html><title>none</title>{frame}")
    assert console == []
    assert re.findall(r"<title>(width \d+)</title>", document) == ["width 390"]


def test_the_terminal_has_one_line_for_it() -> None:
    console = Console(width=400, record=True, file=io.StringIO())
    show_manifest(console, manifest(FOUR, TIMES, REFERENCE), "build/x")
    lines = [line for line in console.export_text().splitlines() if "is ahead in" in line]
    assert lines == [f"tvm: {lost(manifest(FOUR, TIMES, REFERENCE))}"]
    console = Console(width=400, record=True, file=io.StringIO())
    show_manifest(console, manifests.detector(), "build/x")
    assert "is ahead in" not in console.export_text()
