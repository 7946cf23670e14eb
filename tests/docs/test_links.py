"""Links between files of the repository. Those within docs/ are checked by `make docs`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.M | re.S)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", [name for name in LISTED if (ROOT / name).exists()])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    generated = ROOT / "docs" / "known"
    links = [(path.parent / link).resolve() for link in LINK.findall(CODE.sub("", path.read_text()))]
    assert [link for link in links if not link.exists() and not link.is_relative_to(generated)] == []
