"""What a build shows while stages run side by side."""

from __future__ import annotations

import io

from rich.console import Console

from enginesmith.pipeline.api.progress import Progress
from enginesmith.pipeline.job.events import Event


def test_stages_side_by_side():
    out = io.StringIO()
    console = Console(file=out, width=100)
    progress = Progress(console)
    progress(Event(event="plan", stage="", total=4))

    def tell(event: str, stage: str, text: str = "") -> None:
        progress(Event(event=event, stage=stage, text=text))

    tell("start", "compile tvm")
    tell("warning", "compile tvm", "careful")
    tell("start", "compile rtx")
    tell("progress", "compile rtx", "parsing")
    tell("warning", "compile tvm", "slowly")
    console.print(progress)
    tell("built", "compile rtx", "9 nodes")
    tell("not run", "measure rtx", "no GPU")
    tell("failed", "compile tvm", "no")
    tell("start", "compile rtx")
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[:4] == ["[1/4] compile tvm ...", "! careful", "[2/4] compile rtx ...", "! compile tvm: slowly"]
    assert [line.split()[1:3] for line in lines[4:6]] == [["compile", "tvm"], ["compile", "rtx"]]
    assert lines[5].endswith("parsing")
    assert [line.split(" ")[0] for line in lines[6:9]] == ["✓", "○", "✗"]
    assert lines[9] == "[4/4] compile rtx ..."
