"""What a build shows while stages run side by side."""

from __future__ import annotations

import io

from rich.console import Console

from enginesmith.pipeline.cli.terminal import Progress
from enginesmith.pipeline.job.events import Event


def test_stages_side_by_side():
    out = io.StringIO()
    console = Console(file=out, width=100)
    progress = Progress(console, 4)

    def tell(event: str, stage: str, text: str = "") -> None:
        progress(Event(event=event, stage=stage, text=text))

    tell("start", "check tvm")
    tell("warning", "check tvm", "careful")
    tell("start", "check rtx")
    tell("progress", "check rtx", "parsing")
    tell("warning", "check tvm", "slowly")
    console.print(progress)
    tell("built", "check rtx", "9 nodes")
    tell("not run", "measure rtx", "no GPU")
    tell("failed", "check tvm", "no")
    tell("start", "compile rtx")
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[:4] == ["[1/4] check tvm ...", "! careful", "[2/4] check rtx ...", "! check tvm: slowly"]
    assert [line.split()[1:3] for line in lines[4:6]] == [["check", "tvm"], ["check", "rtx"]]
    assert lines[5].endswith("parsing")
    assert [line.split(" ")[0] for line in lines[6:9]] == ["✓", "○", "✗"]
    assert lines[9] == "[4/4] compile rtx ..."
