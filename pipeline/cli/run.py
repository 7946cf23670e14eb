"""What `enginesmith run` shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from enginesmith.converters.core.printable import printable
from enginesmith.converters.core.records import milliseconds
from enginesmith.converters.serving.answers import Answer
from enginesmith.pipeline.api.console import escape, open_console, print_json
from enginesmith.pipeline.job import serve

SHOWN = 12
"""Boxes and outputs of one input; `--json` has all."""


def run_engine(place: Path, inputs: Sequence[Path], *, as_json: bool, **options: Any) -> int:
    """Run, show, and return the exit status. Raises UserError, ConversionError."""
    engine, answers = serve.run(place, inputs, **options)
    if as_json:
        told = {"engine": str(engine.file), "backend": engine.backend, "target": engine.target}
        print_json(json.dumps({**told, "answers": [each.model_dump() for each in answers]}, indent=1))
        return 0
    console = open_console()
    console.print(f"[bold]{escape(engine.name)}[/] {escape(str(engine.file))}", highlight=False, soft_wrap=True)
    for answer in answers:
        show(console, answer)
    return 0


def show(console: Console, answer: Answer) -> None:
    console.print(f"\n[bold]{escape(answer.input)}[/] [dim]{milliseconds(answer.seconds * 1e3)}[/]", highlight=False)
    for each in answer.outputs[:SHOWN]:
        shape = "x".join(map(str, each.shape)) or "scalar"
        span = "" if each.low is None or each.high is None else f" {each.low:.4g} to {each.high:.4g}"
        console.print(f"  {escape(each.name)} {each.dtype} {shape}[dim]{span}[/]", highlight=False)
    if len(answer.outputs) > SHOWN:
        console.print(f"  and {len(answer.outputs) - SHOWN} outputs more, with --json")
    for ranked in answer.classes:
        name = escape(printable(ranked.name)) or "class"
        console.print(f"  {ranked.share:7.2%}  {name} [dim]({ranked.index})[/]", highlight=False)
    for box in answer.boxes[:SHOWN]:
        sides = " ".join(f"{side:.0f}" for side in box.sides)
        name = escape(printable(box.name)) or "label"
        console.print(f"  {box.score:7.2%}  {name} [dim]({box.index})[/]  {sides}", highlight=False)
    if len(answer.boxes) > SHOWN:
        console.print(f"  and {len(answer.boxes) - SHOWN} boxes more, with --json")
    for path in answer.saved:
        console.print(f"  saved {escape(path)}", highlight=False, soft_wrap=True)
