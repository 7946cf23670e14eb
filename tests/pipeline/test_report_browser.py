"""The report in a real browser: charts, errors, narrow screens."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import report_manifests as manifests
from browser import browse, chromium, drawn_plots
from report_pages import Page, hostile

from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import render

__all__ = ["chromium"]  # the fixture


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
