"""Run a stage's product on the samples, and hold its outputs against those of the stage before."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.plainer import plainer
from enginesmith.converters.bisect.sides import steady
from enginesmith.converters.core.comparisons import Comparison
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.facts import ComparedFacts
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import AUTO, FP32, FULL, OFF, Consistency, Recipe
from enginesmith.converters.core.samples import TRIED, WITNESS, Feed, SampleSet, load_beside, load_results, save_results
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.graphs import interface
from enginesmith.converters.graphs.answers import Infer
from enginesmith.converters.graphs.comparison import (
    ONNXRUNTIME,
    compare_samples,
    conclude,
    doubt_the_reference,
    excuse,
    rounding_alone,
    run_samples,
    runner_label,
    settle_probes,
    silent_outputs,
    tell_lost_nan,
    worst_figures,
)
from enginesmith.converters.graphs.difference import as_close
from enginesmith.converters.graphs.self_checks import (
    LEAST_SECONDS,
    note_contradictions,
    reference_of,
    self_checks,
    told,
)
from enginesmith.converters.graphs.tolerances import tolerance_of
from enginesmith.converters.precision.mix import STAND_IN, STAND_IN_LABEL
from enginesmith.converters.serving.runners import runner_of


class CompareOptions(Options):
    """`backend` is `onnxruntime` or a backend's name; `expected` is what the other side is called. With `judged_by`
    differences are told and no verdict: a metric judges them, which that stage measures.
    """

    backend: str
    precision: str
    expected: str
    judged_by: str = ""
    target: str = ""
    consistency: Consistency = "quick"
    """How the engine is held against itself."""


class Compare(Stage[CompareOptions]):
    """The outputs are kept, for the next stage's comparison.

    With the results in float32 as `wide`, a difference that is only one of roundings is told, and doesn't fail.
    """

    name = "compare"
    options = CompareOptions
    facts = ComparedFacts
    without_torch = True

    def packages_of(self, options: CompareOptions) -> tuple[str, ...]:
        runner = ("onnxruntime", "onnxruntime-gpu")
        return ("polygraphy", *(runner if options.backend == ONNXRUNTIME else get_backend(options.backend).packages))

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        """After every stage that leaves a graph or an engine."""
        candidate = so_far.roles.pop("product", "")
        if not candidate:
            return
        engine, lowered = so_far.engine, "exact" in so_far.roles
        id = f"{self.name} {engine.name if engine else candidate}"
        precision = recipe.precision if lowered else FP32
        options = CompareOptions(
            backend=engine.backend if engine else ONNXRUNTIME,
            precision="int8" if precision == AUTO else precision,
            expected=so_far.expected_label,
            judged_by="accuracy" if lowered and not engine else "",
            target=engine.target if engine and recipe.consistency == FULL else "",
            consistency=recipe.consistency,
        )
        needs = {"candidate": candidate, **so_far.needs("samples", "expected")}
        if engine is None:
            yield PlannedStage(id, self.name, options, needs=needs)
            so_far.roles["expected"] = so_far.gate = id
            return
        needs |= {"wide": so_far.roles["exact"]} if lowered else {}
        needs |= so_far.needs("model")
        blocked = get_backend(engine.backend).runnable(engine.target) or ""
        yield PlannedStage(id, self.name, options, needs, (), engine.backend, engine.target, blocked)
        so_far.gate = id

    def run(self, inputs: Mapping[str, Path], options: CompareOptions, context: Context) -> ComparedFacts:
        samples, feeds = SampleSet.load(inputs["samples"])
        expected = load_results(inputs["expected"])
        chosen = samples.held(options.precision)
        if options.backend != ONNXRUNTIME and not get_backend(options.backend).dynamic_shapes:
            chosen = [i for i in chosen if samples.samples[i].optimum or samples.samples[i].listed]
        named = [(samples.samples[index].name, feeds[index]) for index in chosen]
        folder = inputs["candidate"]
        graph = STAND_IN if (folder / STAND_IN).exists() else MODEL
        file = graph if options.backend == ONNXRUNTIME else get_backend(options.backend).engine_file
        runner = runner_of(options.backend, folder / file)
        tried = [dict(outputs) for outputs in load_beside(folder, TRIED)]  # the ordinary samples, which come first
        start = time.monotonic()
        found = tried + run_samples(runner, options.backend, named[len(tried) :], context, interface.load(folder))
        took = time.monotonic() - start
        save_results(context.out, runner_label(options.backend), found)
        results = load_results(context.out)[0][1]
        before = [expected[0][1][index] for index in chosen]
        tolerance = tolerance_of(options.precision, samples.own)
        alone = rounding_alone(inputs["samples"], samples, feeds)
        label = STAND_IN_LABEL if graph == STAND_IN else runner_label(options.backend)
        model = inputs["expected"] == inputs["samples"]
        excused = excuse(samples, options.precision, model) or (options.judged_by and f"{options.judged_by} judges it")
        try:
            compared = compare_samples(samples, chosen, feeds, before, results, tolerance, alone)
        except ConversionError as error:
            if not (model and samples.baked):
                raise
            reason = f"{error}; {excused}"  # a size was baked in
            return ComparedFacts(
                comparison=Comparison(expected=options.expected, found=label, verdict="differs", reason=reason)
            )
        contrary = load_beside(inputs["samples"], WITNESS)
        witnesses = {index: contrary[index] for index in chosen} if contrary else {}
        by_index = dict(zip(chosen, results, strict=True))
        records = dict(zip(chosen, compared, strict=True))
        own = dict(zip(chosen, before, strict=True))
        settle_probes(samples, records, own, by_index, witnesses, tolerance)
        lost = tell_lost_nan(samples, records, feeds, own, by_index, tolerance)
        if lost:
            kept = [dict(by_index[index].items()) for index in chosen]
            save_results(context.out, runner_label(options.backend), kept)
        comparison = conclude(compared, options.expected, label, excused)
        if comparison.verdict == "fail":
            doubt_the_reference(comparison, by_index, witnesses, tolerance)
        if comparison.verdict == "fail" and "wide" in inputs:
            exact = load_results(inputs["wide"])[0][1]
            rows = zip(compared, before, results, (exact[index] for index in chosen), strict=True)
            if all(
                sample.passed or (not sample.retyped and as_close(samples.task, stand_in, engine, wide, tolerance))
                for sample, stand_in, engine, wide in rows
            ):
                comparison.verdict = "differs"
                comparison.reason += f"; it is as close to the results in float32 as {options.expected}"
        checks = []
        full = options.consistency == FULL
        # ONNX Runtime's answers are held against another's at each stage; only what will be shipped is asked for more at once.
        if full or (options.consistency != OFF and options.backend != ONNXRUNTIME):
            context.progress("holding it against itself")
            source = inputs.get("model", folder)
            source /= STAND_IN if (source / STAND_IN).exists() else MODEL
            checks = self_checks(
                runner_of(options.backend, folder / file),
                label,
                source,
                samples,
                [feeds[index] for index in chosen],
                options.precision,
                steady=steady(options.backend),
                changed=interface.load(folder),
                seconds=math.inf if full else max(took, LEAST_SECONDS),
                others=_others(options.backend, options.target, source, samples, feeds, context) if full else {},
            )
            note_contradictions(comparison, checks)
        silent = [*silent_outputs(compared), *(f"{lost_nan} of {label}" for lost_nan in lost)]
        for warning in silent:
            context.warn(warning)
        note = ", ".join(filter(None, (worst_figures(compared), told(checks))))
        return ComparedFacts(comparison=comparison, note=note, warnings=silent)


def _others(
    backend: str, target: str, graph: Path, samples: SampleSet, feeds: list[Feed], context: Context
) -> Mapping[str, Callable[[], Infer]]:
    """The same graph otherwise built; of ONNX Runtime, without its optimizations."""
    if backend == ONNXRUNTIME:
        return {"lowest level": reference_of(graph)}
    return plainer(get_backend(backend), target, graph, samples, feeds, context)
