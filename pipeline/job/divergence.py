"""Find the first tensor at which two stages of a finished build differ."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from enginesmith.converters.backends import get_backend
from enginesmith.converters.bisect import between_graph_and_engine, between_graphs, between_torch_and_graph, workaround
from enginesmith.converters.bisect.divergence import Divergence
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.facts import ComparedFacts
from enginesmith.converters.core.isolated import FAILED, Isolated
from enginesmith.converters.core.recipe import AUTO
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.graphs.tolerances import TOLERANCES, Tolerance
from enginesmith.converters.torch_models.prepare import PrepareOptions
from enginesmith.converters.torch_models.source import LIVE
from enginesmith.pipeline.job.finished import TORCH, Run, Side, graph_name

MOST_SAMPLES = 3
WORKAROUND = 900.0
"""Seconds for the search of what makes an engine agree."""


def find_divergences(
    run: Run,
    stages: str | None,
    timeout: float,
    seconds: float = WORKAROUND,
    listen: Callable[[str], None] = lambda text: None,
) -> list[Divergence]:
    """The pairs that `choose` names, up to the first that differs; of an engine that does, what makes it agree. `timeout` is in
    seconds, for each pair and for each engine that is tried, `seconds` for all of these.

    Raises UserError for unknown stages, ConversionError where a pair that was named can't be compared.
    """
    pairs, all_of_them = choose(run, stages)
    compared: list[Divergence] = []
    for expected, found in pairs:
        listen(f"{expected.name} against {found.name}")
        try:
            compared.append(compare(run, expected, found, timeout, listen))
            if found.is_engine and compared[-1].first is not None:
                compared[-1] = mend(run, found, compared[-1], timeout, seconds, listen)
        except (ConversionError, UserError) as error:
            if not all_of_them:
                raise
            compared.append(_not_compared(run, expected, found, str(error)))
        if all_of_them and compared[-1].first is not None:
            break
    return compared


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
        record.needs.get("candidate") or graph_name(record)
        for record in run.manifest.stages
        if isinstance(record.facts, ComparedFacts) and record.facts.shortcoming
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
    indices = _indices(run)
    # every tensor of the graph is computed twice over, so more time than for a single test
    try:
        if found.is_engine:
            with tempfile.TemporaryDirectory(prefix="enginesmith-bisect-") as work:
                divergence = between_graph_and_engine.search(
                    run.graph_of(expected),
                    samples,
                    indices[:1],
                    found.record.backend,
                    found.record.target,
                    Path(work),
                    scale=limits[0],
                    relative=limits[1],
                    settings=_settings(run, found),
                    timeout=timeout,
                    listen=listen,
                )
        else:
            divergence = _in_one_call(run, expected, found, samples, indices, limits, timeout)
    except FAILED as error:
        raise ConversionError(f"{expected.name} and {found.name} can't be compared tensor by tensor: {error}") from None
    return divergence.model_copy(update={"expected": expected.name, "found": found.name})


def mend(
    run: Run, found: Side, divergence: Divergence, timeout: float, seconds: float, listen: Callable[[str], None]
) -> Divergence:
    """With the smallest change after which the engine agrees, and what else was tried."""
    before = str(run.manifest.recipe.get("alter", ""))
    answer = workaround.search(
        run.artifact(run.record(found.record.needs["model"])) / MODEL,
        run.samples(),
        _indices(run),
        found.record.backend,
        found.record.target,
        divergence,
        alter=before,
        settings=_settings(run, found),
        timeout=timeout,
        seconds=seconds,
        listen=listen,
    )
    keys = answer.change.keys(before) if answer.change else {}
    notes = [*divergence.notes, *([answer.note] if answer.note else [])]
    return divergence.model_copy(update={"trials": answer.trials, "workaround": keys, "notes": notes})


def _settings(run: Run, engine: Side) -> dict[str, bool]:
    """What the recipe says of how the engine is built, where that isn't the backend's own way."""
    names = {name for level in get_backend(engine.record.backend).levels for name in level}
    return {name: bool(value) for name, value in run.manifest.recipe.items() if name in names}


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
    options = planned.options
    assert isinstance(options, PrepareOptions)
    records = {role: run.record(id) for role, id in planned.needs.items()}
    folders = {role: str(run.artifact(record)) for role, record in records.items()}
    entries = {role: run.store.lookup(record.key) for role, record in records.items()}
    inputs = {role: entry.digest for role, entry in entries.items() if entry is not None}
    changed = stage_key(planned, inputs) != run.record("export").key
    if changed and (options.trust or options.kind in ("factory-file", "factory-module", LIVE)):
        # a manifest may come from anyone; of its code that alone is run again which was run when the store got the artifact
        raise UserError("the model's code is no longer what it was when it was exported; build again")
    note = "the model, or a package that exports it, is no longer what it was when it was exported" if changed else ""
    return (
        planned.options.model_dump(mode="json", include=set(PrepareOptions.model_fields)),
        folders.get("finetuned", ""),
        note,
    )


def _indices(run: Run) -> list[int]:
    """Samples at the optimum shape: those that failed first, then the first ones, and a random one, for what pictures don't
    show. Probes only where they failed.
    """
    names, _ = SampleSet.load(run.samples())
    comparisons = [record.comparison for record in run.manifest.stages if record.comparison]
    failed = {sample.sample for comparison in comparisons for sample in comparison.samples if not sample.passed}

    def passed(index: int) -> bool:
        return names.samples[index].name not in failed

    chosen = [
        index
        for index, sample in enumerate(names.samples)
        if sample.optimum and not sample.name.endswith(" again") and not (sample.probe and passed(index))
    ]
    chosen.sort(key=lambda index: (passed(index), bool(names.samples[index].picture)))
    return sorted(chosen[:MOST_SAMPLES], key=lambda index: (passed(index), index))
