"""Find the first tensor at which two stages of a finished build differ, and draw the error along the graph."""

from __future__ import annotations

import difflib
import json
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from enginesmith.converters.bisect import between_graph_and_tvm, between_graphs, between_torch_and_graph
from enginesmith.converters.bisect.layers import MOST, Divergence, Layer
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.isolated import Died, Isolated, Raised
from enginesmith.converters.data.samples import SampleSet
from enginesmith.converters.graphs.tolerances import TOLERANCES, Tolerance
from enginesmith.pipeline.job.finished import TORCH, Run, Side
from enginesmith.pipeline.job.planned import AUTO
from enginesmith.pipeline.job.store import Store

MOST_SAMPLES = 3
SHOWN = 8


def run_diverges(
    folder: Path, stages: str | None, *, timeout: float, out: Path | None, store: str | None, as_json: bool
) -> int:
    """Compare, write and show; the exit status: 0 a divergence was found, 1 nothing differs."""
    run = Run.open(folder, Store(store))
    pairs, all_of_them = choose(run, stages)
    target = out or folder
    console = Console(stderr=as_json)
    console = console if console.is_terminal else Console(stderr=as_json, width=160)
    compared: list[Divergence] = []
    with console.status("comparing") as status:
        for expected, found in pairs:
            status.update(f"{expected.name} against {found.name}")
            try:
                compared.append(compare(run, expected, found, timeout, status.update))
            except (ConversionError, UserError) as error:
                if not all_of_them:
                    raise
                compared.append(_not_compared(run, expected, found, str(error)))
            if all_of_them and compared[-1].first is not None:
                break
    write(compared, target)
    if as_json:
        print(json.dumps([_summary(divergence) for divergence in compared], indent=1))
    else:
        for divergence in compared:
            show(console, divergence)
        console.print(f"[bold]plot[/] {escape(str(target / 'divergence.html'))}", highlight=False, soft_wrap=True)
    return 0 if any(divergence.first is not None for divergence in compared) else 1


def _not_compared(run: Run, expected: Side, found: Side, reason: str) -> Divergence:
    """A pair that can't be looked into must not keep the others from it."""
    tolerance = _tolerance(run)
    return Divergence(
        expected=expected.name,
        found=found.name,
        tolerance_scale=tolerance.scale,
        tolerance_relative=tolerance.relative,
        samples=[],
        layers=[],
        notes=[reason],
    )


def choose(run: Run, stages: str | None) -> tuple[list[tuple[Side, Side]], bool]:
    """The pairs to compare, and whether to stop at the first that differs: the two that were named; the first two whose
    comparison failed in the build; else all neighbours, from PyTorch on. Raises UserError for an unknown stage."""
    chains = run.chains()
    neighbours = list(dict.fromkeys(pair for chain in chains for pair in pairwise(chain)))
    if stages is not None:
        sides = {side.name: side for chain in chains for side in chain}
        names = [name.strip() for name in stages.split(",")]
        if len(names) != 2 or names[0] == names[1]:
            raise UserError(f"--stages takes two stages with a comma between them, of {', '.join(sides)}")
        first, second = (_find(name, sides) for name in names)
        if first.is_engine or second.name == TORCH:
            first, second = second, first
        if first.is_engine or (first.name == TORCH and (second.is_engine or second.record is not first.record)):
            raise UserError(
                f"{first.name} and {second.name} have no tensors in common; compare both with a graph between them"
            )
        return [(first, second)], False
    failed = {
        record.needs.get("candidate", record.id)
        for record in run.manifest.stages
        if record.comparison is not None and record.comparison.verdict == "fail"
    }
    for pair in neighbours:
        if pair[1].name in failed:
            return [pair], False
    if not neighbours:
        raise UserError(
            f"{run.folder} holds one graph only, and no engine that runs here: there is nothing to compare it with"
        )
    return neighbours, True


def _find(name: str, sides: dict[str, Side]) -> Side:
    if name in sides:
        return sides[name]
    starting = [side for known, side in sides.items() if known.removeprefix("compile ").startswith(name)]
    if name and len(starting) == 1:
        return starting[0]
    near = difflib.get_close_matches(name, sides, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sides)}"
    raise UserError(f"unknown stage {name!r}; {hint}")


def compare(
    run: Run, expected: Side, found: Side, timeout: float, listen: Callable[[str], None] = lambda text: None
) -> Divergence:
    """Hold two sides against each other. Raises ConversionError where one can't be run tensor by tensor."""
    tolerance = _tolerance(run)
    limits = (tolerance.scale, tolerance.relative)
    samples = run.samples()
    indices = _indices(samples)
    # every tensor of the graph is computed twice over, so more time than for a single test
    try:
        if found.is_engine:
            with tempfile.TemporaryDirectory(prefix="enginesmith-bisect-") as work:
                divergence = between_graph_and_tvm.search(
                    run.graph_of(expected),
                    samples,
                    indices[:1],
                    found.record.target,
                    Path(work),
                    scale=limits[0],
                    relative=limits[1],
                    timeout=timeout,
                    listen=listen,
                )
        else:
            divergence = _in_one_call(run, expected, found, samples, indices, limits, timeout)
    except (Died, Raised) as error:
        kind, _, text = str(error).partition(": ")
        if kind == "UserError":
            raise UserError(text) from None
        raise ConversionError(f"{expected.name} and {found.name} can't be compared tensor by tensor: {error}") from None
    return divergence.model_copy(update={"expected": expected.name, "found": found.name})


def _tolerance(run: Run) -> Tolerance:
    """That of the lowest precision which the build may have come to."""
    precision = run.manifest.precision
    return TOLERANCES["int8" if precision == AUTO else precision]


def _in_one_call(
    run: Run,
    expected: Side,
    found: Side,
    samples: Path,
    indices: Sequence[int],
    limits: tuple[float, float],
    timeout: float,
) -> Divergence:
    if expected.name != TORCH:
        arguments = (str(run.graph_of(expected)), str(run.graph_of(found)), str(samples), indices, *limits)
        with Isolated(without_torch=True) as isolated:
            return Divergence.model_validate(isolated.call(between_graphs.COMPARE, *arguments, timeout=10 * timeout))
    options, finetuned, note = _export_options(run)
    with Isolated() as isolated:
        answer = isolated.call(
            between_torch_and_graph.COMPARE,
            options,
            str(run.graph_of(found)),
            str(samples),
            indices,
            *limits,
            finetuned,
            timeout=10 * timeout,
        )
    divergence = Divergence.model_validate(answer)
    return divergence.model_copy(update={"notes": [*([note] if note else []), *divergence.notes]})


def _export_options(run: Run) -> tuple[dict[str, object], str, str]:
    """The options that the model was exported with, planned anew from the recipe; the folder of its fine-tuned weights,
    empty where there are none; and a note where the model has changed.
    """
    from enginesmith.pipeline.job.keys import stage_key
    from enginesmith.pipeline.job.plan import make_plan
    from enginesmith.pipeline.job.recipe import make_recipe

    stages = make_plan(make_recipe(dict(run.manifest.recipe))).stages
    planned = next(stage for stage in stages if stage.id == "export")
    records = {role: run.record(id) for role, id in planned.needs.items()}
    folders = {role: str(run.artifact(record)) for role, record in records.items()}
    entries = {role: run.store.lookup(record.key) for role, record in records.items()}
    inputs = {role: entry.digest for role, entry in entries.items() if entry is not None}
    changed = stage_key(planned, inputs) != run.record("export").key
    note = "the model, or a package that exports it, is no longer what it was when it was exported" if changed else ""
    return planned.options.model_dump(mode="json"), folders.get("finetuned", ""), note


def _indices(folder: Path) -> list[int]:
    """The first samples at the optimum shape, and a random one, for what pictures don't show."""
    names, _ = SampleSet.load(folder)
    chosen = [i for i, sample in enumerate(names.samples) if sample.optimum and not sample.name.endswith(" again")]
    chosen.sort(key=lambda i: bool(names.samples[i].picture))
    return sorted(chosen[:MOST_SAMPLES])


def write(compared: Sequence[Divergence], folder: Path) -> None:
    """`divergence.json` with all figures, and `divergence.html` with a chart of them. Raises UserError."""
    from enginesmith.pipeline.report.error_path import render

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "divergence.json").write_text(
            json.dumps(
                [{**_summary(d), "layers": [layer.model_dump() for layer in d.layers]} for d in compared], indent=1
            )
        )
        (folder / "divergence.html").write_text(render(compared), encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't write into {folder} ({error.strerror}); give another folder with --out") from None


def _summary(divergence: Divergence) -> dict[str, object]:
    first = divergence.first
    return {
        **divergence.model_dump(exclude={"layers"}),
        "compared": len(divergence.layers),
        "differing": sum(layer.differs for layer in divergence.layers),
        "first": first.model_dump() if first else None,
        "origins": [layer.model_dump() for layer in divergence.layers if layer.origin],
    }


def show(console: Console, divergence: Divergence) -> None:
    """The first layers that differ; origins first, for they are what to look at."""
    title = f"{divergence.expected} against {divergence.found}"
    first = divergence.first
    if not divergence.layers:
        console.print(f"[yellow]not compared[/] {escape(title)}", highlight=False)
    elif first is None:
        console.print(f"[green]agree[/] {escape(title)}: {len(divergence.layers)} tensors", highlight=False)
    else:
        console.print(f"[red]differ[/] {escape(title)}, first at [bold]{escape(first.node)}[/]", highlight=False)
        console.print(_table([layer for layer in divergence.layers if layer.differs]))
    if divergence.unmatched:
        some = ", ".join(divergence.unmatched[:SHOWN]) + (", …" if len(divergence.unmatched) > SHOWN else "")
        console.print(f"  without a counterpart: {len(divergence.unmatched)} ({escape(some)})", highlight=False)
    for note in divergence.notes[:SHOWN]:
        console.print(f"  {escape(note)}", highlight=False)


def _table(differing: Sequence[Layer]) -> Table:
    ordered = sorted(differing, key=lambda layer: (not layer.origin, layer.place))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("node", "op", "tensor", "expected", "difference", "scale", "times allowed", ""):
        table.add_column(column, overflow="fold")
    for layer in ordered[:SHOWN]:
        table.add_row(
            escape(layer.node),
            layer.op,
            escape(layer.tensor),
            escape(layer.expected) if layer.expected != layer.tensor else "",
            f"{layer.max_abs:.2e}",
            f"{layer.scale:.2e}",
            "unbounded" if layer.excess >= MOST else f"{layer.excess:.3g}",
            "starts here" if layer.origin else "",
        )
    return table
