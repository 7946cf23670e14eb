"""A report in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

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
