"""The stage behind `--precision auto`: a search for the fastest mix of precisions within a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.facts import JudgedFacts
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.hashing import code_version
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import AUTO, Recipe, Rest
from enginesmith.converters.core.records import Search
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.core.user_files import files_read
from enginesmith.converters.data.options import DataOptions, MetricOptions, described, open_evaluator
from enginesmith.converters.precision.facts import LoweredFacts, doubt_of, lowered, lowered_facts
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.mix import apply, lowest, write

DEFAULT_BUDGET = 0.005
"""Of a search that was given none."""


LOWERED = "precision"
"""Id of the stage in a plan."""


class SearchOptions(Options):
    """`budget` in units of the metric, `seconds` to spend, `target` for the latency's estimate; `rest` is what computes in
    no integers, and fp32 leaves nothing to choose but these.
    """

    data: DataOptions
    metric: MetricOptions
    budget: float
    target: str
    rest: Rest
    seconds: float
    int8: Int8Options
    keep_io: bool = True
    code: str
    """Version of the code: what was evaluated by another one is not remembered."""


class SearchFacts(LoweredFacts, JudgedFacts):
    search: Search | None = None
    """None where the weights are random: a search would rank noise."""

    @property
    def remedy(self) -> str:
        if self.search and self.search.stopped:
            return f"it stopped {self.search.stopped}: give it more TIME, or a larger BUDGET"
        return "nothing better was found: give a larger BUDGET, or train with --qat --finetune"


class SearchMix(Stage[SearchOptions]):
    """The artifact is the best mix's graph and stand-in, as the stage `precision` leaves them. Ctrl-C takes the best so
    far. What was evaluated is remembered in the cache, so that a search that was stopped goes on.
    """

    name = "search"
    options = SearchOptions
    facts = SearchFacts
    packages = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "ml-dtypes", "pillow")
    interruptible = True

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        """In the place of `precision`. It measures the accuracy itself."""
        if recipe.precision != AUTO:
            return
        options = SearchOptions(
            data=DataOptions.evaluation(recipe),
            metric=MetricOptions.asked(recipe),
            budget=DEFAULT_BUDGET if recipe.budget is None else recipe.budget,
            target=so_far.estimated,
            rest=so_far.rest,
            seconds=recipe.time,
            int8=Int8Options.asked(recipe),
            keep_io=not recipe.low_io,
            code=code_version(__name__),
        )
        needs = so_far.needs("model", "samples", "original", "calibration", "equalized")
        id = so_far.id(LOWERED)
        yield PlannedStage(id, self.name, options, needs=needs, after=(so_far.roles["expected"],))
        lowered(so_far, id)

    def run(self, inputs: Mapping[str, Path], options: SearchOptions, context: Context) -> SearchFacts:
        from enginesmith.converters.precision.cost import with_shapes
        from enginesmith.converters.precision.judges import Judge, quick_judge
        from enginesmith.converters.precision.layer_losses import layers_of
        from enginesmith.converters.precision.mix_search import search
        from enginesmith.converters.precision.trial import Ground, Trials

        grounds = {role: Ground.load(inputs[role]) for role in ("calibration", "equalized") if role in inputs}
        plain = grounds["calibration"]
        if doubt := doubt_of(inputs["samples"]):
            mix = lowest(plain.model, options.rest).model_copy(update={"keep_io": options.keep_io})
            lowering = apply(plain.model, mix, plain.calibration, options.int8)
            write(plain.model, mix, context.out)
            made = lowered_facts(context.out, lowering)
            note = f"{made.note}; not searched: random weights"
            return SearchFacts(**{**dict(made), "doubt": doubt, "note": note})
        evaluator = open_evaluator(options.data, options.metric, inputs, context)
        shapes = {spec.name: spec.opt for spec in described(inputs["samples"]).specs}
        layers = layers_of(plain.model, with_shapes(plain.model, shapes), options.target)
        quick = quick_judge(inputs["model"] / MODEL, evaluator, len(layers), options.seconds)
        trials = Trials(
            plain=plain,
            equalized=grounds.get("equalized"),
            target=options.target,
            identity=_identity(inputs, options),
            scratch=context.scratch,
            cache=context.cache,
            shapes=shapes,
        )
        mix, int8, record = search(
            trials,
            Judge(evaluator),
            quick,
            layers,
            options.budget,
            options.rest,
            options=options.int8,
            seconds=options.seconds,
            stop=context.stopped,
            progress=context.progress,
        )
        tried = [candidate for candidate in record.candidates if candidate.chosen]
        if not record.candidates:
            raise ConversionError(f"no mix was evaluated; it stopped {record.stopped}", "give it more TIME")
        best = tried[0] if tried else min(record.candidates, key=lambda candidate: candidate.loss)
        mix = mix.model_copy(update={"keep_io": options.keep_io})
        ground = trials.ground_of(mix, int8)
        model = ground.copy()
        lowering = apply(model, mix, ground.calibration, int8)
        write(model, mix, context.out)
        accuracy = evaluator.record(best.accuracy, options.budget)
        warnings = list(evaluator.warnings)
        if record.stopped:
            warnings.append(f"the search stopped {record.stopped}: there may be a faster mix within the budget")
        for warning in warnings:
            context.warn(warning)
        return SearchFacts(
            **{
                **dict(lowered_facts(context.out, lowering)),
                "accuracy": accuracy,
                "search": record,
                "warnings": warnings,
                "source_files": files_read(),
                "note": f"{best.name}; {accuracy.verdict}; {len(record.candidates)} candidates",
            }
        )


def _identity(inputs: Mapping[str, Path], options: SearchOptions) -> str:
    """Whatever the accuracy of a mix depends on, but for the mix."""
    files = [inputs["model"] / MODEL, *(inputs[role] / MODEL for role in sorted(inputs) if role != "samples")]
    given = (options.data.model_dump_json(), options.metric.model_dump_json(), options.code)
    return " ".join([*map(hash_file, files), *given])
