"""Every example of the README and of docs/ runs as it stands there.

Of a page's fenced blocks, in their order and in one folder: `console` is run, line by line, and what it shows of the
output must come in that order (`…` stands for anything; `# exit 1` for an exit status); `python` is a script; a block with
a title is a file of that name. What needs a GPU, a network or minutes is `sh` or `text`, which is not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ("console", "python")
SHOWN = ("sh", "text", "toml", "yaml")
FENCE = re.compile(r"^```(?P<kind>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^```$", re.M | re.S)
EXIT = re.compile(r"\s+# exit (\d+)$")
MARK = "-- status "
"""What the shell prints after each command."""


@dataclass(frozen=True)
class Block:
    kind: str
    title: str
    body: str
    line: int
    """Where it starts in its page, from 1."""


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        yield Block(match["kind"], match["title"] or "", match["body"], text.count("\n", 0, match.start()) + 1)


def commands(body: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console with the output that is shown for it."""
    for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
        lines = part.rstrip("\n").split("\n")
        length = next(i for i, line in enumerate(lines, 1) if not line.endswith("\\"))
        yield "\n".join(lines[:length]), lines[length:]


def runs(page: Path) -> bool:
    return any(block.kind in RUN and not block.title for block in blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_whether_it_runs(page: Path) -> None:
    unknown = {block.line: block.kind for block in blocks(page) if block.kind not in RUN + SHOWN}
    assert unknown == {}
    assert len(list(blocks(page))) * 2 == page.read_text().count("```"), "a fence is not closed, or indented"


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=lambda page: page.stem)
@pytest.mark.timeout(900)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.title:
            (tmp_path / block.title).write_text(block.body)
        elif block.kind == "python":
            done = run([sys.executable, "-c", block.body], tmp_path)
            assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
        elif block.kind == "console":
            console(block.body, tmp_path, where)


def console(body: str, folder: Path, where: str) -> None:
    """One shell for the whole block: what a command sets, the next ones see."""
    asked = list(commands(body))
    script = "\n".join(f"{EXIT.sub('', command)}\nprintf '\\n{MARK}%d\\n' $?" for command, _ in asked)
    done = run(["bash", "-c", f"set -uo pipefail\n{script}"], folder)
    answers = re.findall(rf"(.*?)\n{MARK}(\d+)\n", done.stdout, re.S)
    assert len(answers) == len(asked), f"{where}\n{done.stdout}{done.stderr}"
    for (command, shown), (output, status) in zip(asked, answers, strict=True):
        wanted = EXIT.search(command)
        told = f"{where}: {command}\n{output}\n{done.stderr}"
        assert int(status) == int(wanted[1] if wanted else 0), told
        assert in_order(shown, output), f"{told}\nshown there:\n" + "\n".join(shown)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def in_order(shown: list[str], output: str) -> bool:
    """Does the output have the lines shown, in their order? Spaces don't count; `…` is anything within a line."""
    lines = iter(" ".join(line.split()) for line in output.splitlines())
    patterns = [".*".join(re.escape(part.strip()) for part in " ".join(line.split()).split("…")) for line in shown]
    return all(any(re.search(pattern, line) for line in lines) for pattern in patterns)
