"""`enginesmith bisect`: the smallest part of a model that fails, or the first tensor at which two stages differ."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from enginesmith.converters.bisect.conditions import parse_condition
from enginesmith.converters.bisect.search import Limits, Reduction, reduce_file
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.job.shapes import parse_shapes


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
    seconds: float | None,
    out: Path | None,
    store: str | None,
    as_json: bool,
) -> int:
    """What the command does, behind its flags."""
    if (fails is None) != diverges:
        raise UserError("give one of --fails CONDITION (for an ONNX file) and --diverges (for a build's output folder)")
    if fails is not None:
        if stages is not None:
            raise UserError("--stages goes with --diverges")
        limits = Limits(timeout, seconds if seconds is not None else math.inf, any_failure)
        return run_reduce(subject, fails, target=target, shape=shape, limits=limits, out=out, as_json=as_json)
    from enginesmith.pipeline.cli.divergence import run_diverges

    return run_diverges(subject, stages, timeout=timeout, out=out, store=store, as_json=as_json)


def run_reduce(
    path: Path,
    fails: str,
    *,
    target: str = "auto",
    shape: str | None = None,
    limits: Limits,
    out: Path | None = None,
    as_json: bool = False,
) -> int:
    """Reduce a model, show what is left, and return the exit status: 0 reduced, 1 the model doesn't fail."""
    if not path.is_file():
        raise UserError(f"no file {path}")
    condition = parse_condition(fails, target)
    shapes = parse_shapes(shape) if shape else ()
    out = out or Path(f"{path.stem}-reduced.onnx")
    if out.exists() and out.samefile(path):
        raise UserError(f"{out} is the model itself; give another --out")
    _check_writable(out)
    console = Console(stderr=as_json)
    with _progress(console) as status, tempfile.TemporaryDirectory(prefix="enginesmith-bisect-") as folder:
        first: list[int] = []

        def listen(step: str, nodes: int, tests: int) -> None:
            first[:] = first or [nodes]
            status.update(f"{nodes} of {first[0]} nodes, {tests} tests: {escape(step)}")

        result = reduce_file(path, condition, out, Path(folder), shapes=shapes, limits=limits, listen=listen)
    if as_json:
        print(result.model_dump_json(indent=1))
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


def _check_writable(out: Path) -> None:
    try:
        existed = out.exists()
        with out.open("ab"):
            pass
        if not existed:
            out.unlink()
    except OSError as error:
        raise UserError(f"can't write {out} ({error.strerror}); give another --out") from None


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
