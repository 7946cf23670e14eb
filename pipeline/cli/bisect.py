"""`enginesmith bisect`: the smallest part of a model that fails, or the first tensor at which two stages differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.status import Status

from enginesmith.converters.bisect.search import Reduction
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.api.bisect import bisect
from enginesmith.pipeline.api.console import escape, open_console, print_json


def run(
    subject: Path,
    fails: str | None,
    *,
    diverges: bool,
    stages: str | None,
    target: str,
    shape: str | None,
    any_failure: bool,
    timeout: float,
    memory: float | None,
    seconds: float | None,
    out: Path | None,
    store: str | None,
    as_json: bool,
) -> int:
    """What the command does, behind its flags."""
    if (fails is None) != diverges:
        raise UserError("give one of --fails CONDITION (for an ONNX file) and --diverges (for a build's output folder)")
    if fails is None:
        from enginesmith.pipeline.cli.divergence import run_diverges

        return run_diverges(subject, stages, timeout=timeout, seconds=seconds, out=out, store=store, as_json=as_json)
    if stages is not None:
        raise UserError("--stages goes with --diverges")
    console = open_console(stderr=as_json)
    with _progress(console) as status:
        result = bisect(
            subject,
            fails,
            target=target,
            shape=shape,
            any_failure=any_failure,
            timeout=timeout,
            memory=memory,
            time=seconds,
            out=out,
            progress=lambda event: status.update(escape(event.text)),
        )
    if as_json:
        print_json(result.model_dump_json(indent=1))
    else:
        _show(console, result)
    return 0 if result.failure is not None else 1


@contextmanager
def _progress(console: Console) -> Iterator[Status]:
    """One line that changes, on a terminal only."""
    status = console.status("reading the model")
    if console.is_terminal:
        with status:
            yield status
    else:
        yield status


def _show(console: Console, result: Reduction) -> None:
    def line(label: str, text: str) -> None:
        console.print(f"[bold]{label:9}[/] {escape(text)}", highlight=False, soft_wrap=True)

    if result.failure is None:
        line("passes", f"{result.source} doesn't fail: {result.condition}")
        if result.note:
            line("note", result.note)
        return
    failure = result.failure
    line("failure", f"{failure.step}: {failure.message}")
    line(
        "nodes", f"{result.nodes_after} of {result.nodes_before}, after {result.tests} tests in {result.seconds:.1f} s"
    )
    line("left", ", ".join(f"{op} ({n})" if n > 1 else op for op, n in result.ops.items()))
    line("names", ", ".join(result.names[:8]) + (", …" if len(result.names) > 8 else ""))
    runs = "" if result.runs else "; ONNX Runtime doesn't run it"
    line("saved", f"{result.file}, {result.size / 1e3:.1f} kB{runs}")
    if not result.finished:
        line(
            "stopped", "before the end: a smaller model may exist; give more --time, or start again from the saved one"
        )
    if not result.confirmed:
        line("unsure", "the saved file passed when it was tested once more: the failure comes and goes")
