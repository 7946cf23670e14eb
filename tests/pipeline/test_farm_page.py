"""The page of a farm, in a real browser; and what it says of earlier runs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from browser import browse, chromium
from report_manifests import MACHINE

from enginesmith.converters.core.records import Latency
from enginesmith.pipeline.farm.difference import difference
from enginesmith.pipeline.farm.records import CellRecord, RunRecord
from enginesmith.pipeline.report.farm import render_farm

__all__ = ["chromium"]  # the fixture


def latency(engine: float, reference: float = 2.0) -> Latency:
    return Latency(engine_ms=engine, onnxruntime_ms=reference, runs=9, threads=2, load_before=0.1, load_after=0.1)


def cell(model: str, precision: str = "fp32", target: str = "sm_89", **more: object) -> CellRecord:
    axes = {"model": model, "backend": "tensorrt", "target": target, "precision": precision, "shape": ""}
    name = f"{model} {precision} tensorrt {target}"
    known = {"state": "yes", "size": 1000, "tools": {"tensorrt": "10.3"}, "layers": {"float16": 9, "float32": 1}}
    return CellRecord.model_validate({**axes, "name": name, "folder": f"cells/{name}", **known, **more})


def run(*cells: CellRecord, id: str = "20261203T000000", **more: object) -> RunRecord:
    about = {
        "matrix": "nightly",
        "command": ["enginesmith"],
        "enginesmith": "0.1.0",
        "machine": MACHINE,
        "on": "this machine",
    }
    counted = {"seconds": 12.0, "tasks": 9, "built": 4, "cells": list(cells)}
    return RunRecord.model_validate({"id": id, **about, **counted, **more})


def many(count: int) -> list[CellRecord]:
    states = ("yes", "yes", "yes", "not run", "failed")
    return [
        cell(
            f"model{number // 20}",
            ("fp32", "fp16", "int8", "bf16")[number % 4],
            f"sm_{80 + number % 20 // 4}",
            state=states[number % 5],
            cause="a layer that the parser refuses: no importer registered for op Foo " * 4 if number % 5 > 2 else "",
            latency=latency(1 + number % 7),
            accuracy={"top1 on imagenet": 0.7 + number % 11 / 100},
        )
        for number in range(count)
    ]


def test_the_page_of_2000_cells_is_small_and_opens_at_once(chromium: str, tmp_path: Path) -> None:
    runs = [run(*many(2000), id=f"2026120{day}T000000") for day in range(1, 10)]
    page = render_farm(runs)
    assert len(page.encode()) < 10e6
    assert not re.search(r"""(?:src|href)=["']https?:""", page)
    timed = page.replace("</body>", "<script>document.title = `took ${performance.now()}`</script></body>")
    started = time.monotonic()
    document, console = browse(chromium, tmp_path, timed)
    assert console == []
    assert 'data-ready="2000"' in document
    assert document.count('<button type="button" class="cell') == 2000
    took = float(re.findall(r"took ([\d.]+)", document)[0]) / 1000
    assert took < 2, f"{took:.1f} s, of {time.monotonic() - started:.1f} s with the browser's own start"


def test_search_filter_and_a_chosen_cell(chromium: str, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    before = run(cell("good", latency=latency(1.0)), cell("bad"), id="20261201T000000")
    now = run(
        cell("good", latency=latency(2.0), accuracy={"top1": 0.9}),
        cell("bad", state="failed", stage="compile", cause=hostile),
    )
    use = """<script>
      const shown = () => [...document.querySelectorAll('.cell:not(.hidden)')].length;
      const pick = (id, value) => { const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event('input')); };
      const told = [shown()];
      pick('search', 'good'); told.push(shown(), document.getElementById('count').textContent);
      pick('search', ''); pick('tone', 'bad'); told.push(shown());
      pick('tone', ''); pick('show', 'ms'); told.push(document.querySelector('.cell').textContent);
      document.querySelectorAll('.cell')[0].click();
      told.push(document.querySelector('#details a').getAttribute('href'), document.querySelectorAll('#trend circle').length);
      document.querySelectorAll('.cell')[1].click();
      told.push(document.getElementById('details').textContent.includes('<img'), document.querySelectorAll('#details img').length);
      told.push(document.getElementById('changes').textContent, document.querySelectorAll('#scatter circle').length);
      document.title = JSON.stringify(told);
    </script>"""
    document, console = browse(chromium, tmp_path, render_farm([before, now]).replace("</body>", f"{use}</body>"))
    assert console == []
    title = re.findall(r"<title>(.*?)</title>", document, re.S)[0].replace("&lt;", "<").replace("&gt;", ">")
    everything, found, count, bad, figure, href, trend, text, images, changes, points = json.loads(title)
    assert (everything, found, count, bad, figure) == (2, 1, "1 of 2 cells", 1, "2.00 ms")
    assert href == "cells/good%20fp32%20tensorrt%20sm_89/report.html"
    assert (trend, text, images, points) == (2, True, 0, 1)
    assert "latency: 1.00 ms → 2.00 ms" in changes
    assert "verified: yes → failed" in changes


@pytest.mark.parametrize(
    ("before", "after", "worse", "told"),
    [
        ({"state": "yes"}, {"state": "no", "cause": "differs"}, True, ["verified"]),
        ({"state": "failed"}, {"state": "yes"}, False, ["verified"]),
        ({"state": "unfinished"}, {"state": "failed"}, False, []),
        ({"accuracy": {"top1": 0.9}}, {"accuracy": {"top1": 0.8}}, True, ["accuracy: top1"]),
        ({"accuracy": {"top1": 0.8}}, {"accuracy": {"top1": 0.9}}, False, ["accuracy: top1"]),
        ({"latency": latency(1.0)}, {"latency": latency(1.5)}, True, ["latency"]),
        ({"latency": latency(1.0)}, {"latency": latency(1.03)}, False, []),
        ({"latency": latency(1.0)}, {"latency": latency(1.5, reference=3.2)}, False, []),  # the machine was slower
        ({"latency": latency(1.5)}, {"latency": latency(1.0)}, False, ["latency"]),
        ({"size": 1000}, {"size": 1500}, False, ["size"]),
        (
            {"layers": {"float16": 9}},
            {"layers": {"float16": 5, "float32": 4}},
            True,
            ["layers: float16", "layers: float32"],
        ),
    ],
)
def test_what_differs_between_two_runs(before: dict, after: dict, worse: bool, told: list[str]) -> None:  # type: ignore[type-arg]
    found = difference(run(cell("m", **before)), run(cell("m", **after), id="later"))
    assert found.worse is worse
    assert [change.what for each in found.cells for change in each.changes] == told


def test_cells_and_tools_that_come_and_go_are_told() -> None:
    found = difference(run(cell("a"), cell("b")), run(cell("b", tools={"tensorrt": "11.1"}), cell("c"), id="later"))
    assert [(each.cell.split()[0], each.changes[0].after) for each in found.cells] == [("c", "new"), ("a", "gone")]
    assert [(tool.what, tool.before, tool.after) for tool in found.tools] == [("tensorrt", "10.3", "10.3, 11.1")]
    assert not found.worse
