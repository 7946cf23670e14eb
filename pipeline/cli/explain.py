"""`enginesmith explain`: the first real cause in a log, on a page."""

from __future__ import annotations

import os
import sys
from io import BufferedReader
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.text import Text

from enginesmith.compat.diagnoses import Explanation, Headline, Hit, Quote
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.api.console import open_console, print_json
from enginesmith.pipeline.api.explain import explain
from enginesmith.pipeline.job.consultation import Consultation

WIDTH = 100
"""Of the page where the terminal does not say."""
UNKNOWN = 8
"""Unknown lines that the page shows."""


def run_explain(log: str, *, model: Path | None, for_: str, fix: Path | None, as_json: bool) -> int:
    """Explain a file, or standard input where `log` is `-`. Returns the exit status: 0 a cause was found, 1 none.

    Raises UserError where there is no text to read.
    """
    name = "standard input" if log == "-" else log
    if log == "-" and sys.stdin.isatty():
        raise UserError("give the log's file, or pipe it in: trtexec ... 2>&1 | enginesmith explain")
    source = cast(BufferedReader, sys.stdin.buffer) if log == "-" else Path(log)
    explanation = explain(source, name, model=model, for_=for_, fix=fix)
    if as_json:
        print_json(explanation.model_dump_json(indent=1))
    else:
        console = _console()
        show_explanation(console, explanation, name)
        if explanation.consultation is not None:
            show_consultation(console, explanation.consultation)
    told = explanation.cause or (explanation.headline and explanation.headline.reading)
    return 0 if told else 1


def show_explanation(console: Console, explanation: Explanation, name: str) -> None:
    """The cause, where it is and what to do; then what came after it, the warnings, and the lines that nobody knows."""
    tools = ", ".join(explanation.tools) or "no tool that is known"
    console.print(Text(f"{name}: {explanation.lines:,} lines, {tools}", style="dim"))
    if explanation.cause is not None:
        read = explanation.cause.reading
        symptom = explanation.cause.generic and (read is None or read.symptom)
        if explanation.cause.warning:
            _heading(console, "no error in this log; of its warnings this one tells most", "bold yellow")
        else:
            _heading(console, "symptom" if symptom else "cause", "bold red")
        _show(console, explanation.cause)
        if symptom and "reason" not in explanation.cause.details:
            _indented(console, Text("This names a symptom. No line that is known names its cause.", style="yellow"))
    elif explanation.headline is not None:
        reading = explanation.headline.reading
        heading = (
            "unknown: no diagnosis knows this error" if reading is None else "symptom" if reading.symptom else "cause"
        )
        _heading(console, heading, "bold red")
        _show_headline(console, explanation.headline)
    elif explanation.unknown:
        _heading(console, "unknown: no diagnosis knows these lines, which look decisive", "bold red")
    else:
        _heading(console, "no error in this log", "bold yellow")
    for quote, told in (
        (explanation.before, "before it this went well"),
        (explanation.passed, "after it the tool went on, and says"),
    ):
        if quote is not None and (explanation.cause or explanation.headline):
            _indented(
                console, Text.assemble((f"{told}: ", "dim"), f"line {quote.number:,}  {quote.text.strip()}"), hang=True
            )
    if explanation.further:
        _heading(console, "after it, or independent of it", "bold")
        for hit in explanation.further:
            _show_short(console, hit)
    if explanation.unknown:
        headline = explanation.headline
        others = [quote for quote in explanation.unknown if headline is None or quote.number != headline.line.number]
        if others and (explanation.cause or headline):
            _heading(console, "errors that no diagnosis knows", "bold")
        for quote in others[:UNKNOWN]:
            _quote(console, quote)
    if explanation.warnings:
        _heading(console, "warnings that matter", "bold yellow")
        for hit in explanation.warnings:
            _show_short(console, hit)


def show_consultation(console: Console, consultation: Consultation) -> None:
    """The node as the model has it, what the rules say of it, and the repair that was tried."""
    looked = consultation.looked
    _heading(console, f"in {consultation.model}", "bold")
    if looked.nodes and not looked.by_name:
        _indented(console, Text(f"no node of that name; of the operator there are {looked.count}", style="yellow"))
    for node in looked.nodes:
        _indented(console, Text.assemble((node.op, "bold"), f" {node.name}"))
        for label, values in (("in", node.inputs), ("out", node.outputs)):
            for value in values:
                source = f", {value.source}" if value.source else ""
                _indented(console, Text(f"{label}: {value.name} {value.type}{value.shape}{source}"), by=4)
    if not looked.nodes:
        _indented(console, Text(looked.problem, style="yellow"))
    for found in consultation.here:
        text = f"{found.finding.message} ({found.verdict}, rule {found.finding.rule or 'none'})"
        _labelled(console, f"{consultation.target} says", text)
        if found.said:
            _labelled(console, "in its own words", found.said)
        if found.accepted_by:
            _labelled(console, "accepted by", found.accepted_by)
        if found.finding.remedy:
            _labelled(console, "remedy", _sentence(found.finding.remedy))
    if not consultation.here:
        _labelled(console, f"{consultation.target} says", "nothing against this node by the rules that are known")
    _labelled(console, "trial", consultation.trial)
    if consultation.today:
        _labelled(console, "installed here", consultation.today)
    if consultation.elsewhere:
        _labelled(console, "elsewhere", f"{consultation.elsewhere} more; see enginesmith doctor {consultation.model}")
    if consultation.repair is not None:
        made = ", ".join(dict.fromkeys(f"{attempt.repair} ({attempt.node})" for attempt in consultation.repair.made))
        proof = consultation.repair.proof
        proved = ""
        if proof is not None:
            proved = f"; the whole graph {'agrees' if proof.agrees else 'differs' if proof.ran else 'could not be run'}"
        _labelled(console, "repair tried", f"{made}{proved}" if made else "none could be made")
        if consultation.fixed is not None:
            _labelled(console, "repaired graph", str(consultation.fixed))
        elif made and not consultation.repair.refuted:
            _labelled(
                console,
                "to write it",
                f"add --fix fixed.onnx, or enginesmith doctor {consultation.model} --fix fixed.onnx",
            )


def _show(console: Console, hit: Hit) -> None:
    _quote(console, hit.line)
    console.print()
    if hit.reading is not None:
        _indented(console, Text(_sentence(hit.reading.cause)))
    _indented(console, Text(_sentence(hit.cause)))
    for label, value in (
        ("operator", hit.op),
        ("node", hit.node),
        *((name, value) for name, value in hit.details.items()),
        *(("meaning", meaning) for meaning in hit.meanings),
        ("remedy", _sentence(hit.reading.remedy) if hit.reading else ""),
        ("remedy", _sentence(hit.remedy)),
        ("repair", f"enginesmith doctor --fix ({hit.repair})" if hit.repair else ""),
        *(("see", link) for link in hit.links),
        ("id", f"{hit.id} ({hit.tool})"),
    ):
        if value:
            _labelled(console, label, value)


def _show_headline(console: Console, headline: Headline) -> None:
    _quote(console, headline.line)
    console.print()
    reading = headline.reading
    if reading is not None:
        _indented(console, Text(_sentence(reading.cause)))
    for label, value in (
        ("tool", headline.tool),
        ("step", headline.step),
        ("raised in", headline.where),
        ("kind", headline.kind),
        ("operator", headline.op),
        ("node", headline.node),
        ("says", headline.message if headline.message != headline.line.text.strip() else ""),
        *(("meaning", meaning) for meaning in headline.meanings),
        ("remedy", _sentence(reading.remedy) if reading else ""),
        ("look next at", headline.look),
    ):
        if value:
            _labelled(console, label, value)


def _labelled(console: Console, label: str, value: str) -> None:
    style = "green" if label in ("remedy", "look next at") else "dim"
    _indented(console, Text.assemble((f"{label}: ", style), value), hang=True)


def _show_short(console: Console, hit: Hit) -> None:
    times = f", {hit.count} times" if hit.count > 1 else ""
    place = " ".join(part for part in (hit.op, hit.node) if part)
    head = Text.assemble((f"line {hit.line.number:,}{times}  ", "dim"), (hit.id, "bold"), f"  {place}" if place else "")
    _indented(console, head)
    _indented(console, Text(f"{_sentence(hit.cause)} {_sentence(hit.remedy)}"), by=4)


def _quote(console: Console, quote: Quote) -> None:
    _indented(console, Text.assemble((f"line {quote.number:,}  ", "dim"), (quote.text.strip(), "italic")), hang=True)


def _heading(console: Console, text: str, style: str) -> None:
    console.print()
    console.print(Text(text, style=style))


def _indented(console: Console, text: Text, by: int = 2, *, hang: bool = False) -> None:
    """Wrapped within an indent; `hang` sets the lines after the first in by two more."""
    for number, line in enumerate(text.wrap(console, console.width - by - 2)):
        line.rstrip()
        console.print(Text(" " * (by + 2 if hang and number else by)) + line)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _console() -> Console:
    columns = os.environ.get("COLUMNS", "")
    return open_console(width=int(columns) if columns.isdigit() else WIDTH)
