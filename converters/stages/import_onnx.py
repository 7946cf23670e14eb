"""An ONNX file from outside: checked, copied with its external data, with sample inputs and its own outputs for them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import ConversionError, UserError, first_line
from enginesmith.converters.core.facts import Doubt, ModelFacts
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.inputs import InputSpec, fixed_sizes, resolve_inputs
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.records import Weights
from enginesmith.converters.core.samples import (
    EXACT,
    MOVED,
    WITNESS,
    Array,
    Feed,
    Pixels,
    SampleSet,
    save_results,
)
from enginesmith.converters.core.stage import GRAPHS, MODEL, Context, Stage
from enginesmith.converters.core.stamps import hashed, unchanged
from enginesmith.converters.data.admission import admit
from enginesmith.converters.data.maker import Way
from enginesmith.converters.data.options import OwnOptions, sample_count
from enginesmith.converters.data.samples import Own, finite, make_samples
from enginesmith.converters.data.steering import with_values
from enginesmith.converters.data.ties import accepts, settle
from enginesmith.converters.data.unbaked import unbaked
from enginesmith.converters.graphs import onnxruntime, sized
from enginesmith.converters.graphs.comparison import UNSTEADY, repeats
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.graphs.files import external_files, load_graph
from enginesmith.converters.graphs.metadata import class_names
from enginesmith.converters.graphs.nudged import nudged
from enginesmith.converters.graphs.refused_nodes import wrong
from enginesmith.converters.graphs.trial import own_precision
from enginesmith.converters.graphs.witness import second_witness

if TYPE_CHECKING:
    import onnx


class ImportOptions(Options):
    """`sha256` only makes the file's content part of the stage's key."""

    path: Path
    sha256: str
    inputs: tuple[InputSpec, ...]
    samples: int
    own: OwnOptions = OwnOptions()
    seed: int
    task: str
    pixels: Pixels | None = None


class OnnxImport(Stage[ImportOptions]):
    """The reference outputs come from ONNX Runtime without its optimizations: the graph as it is written."""

    name = "import"
    options = ImportOptions
    facts = ModelFacts
    packages = ("onnx", "onnxruntime", "onnxruntime-gpu", "polygraphy")
    without_torch = True
    preload = (*GRAPHS, "onnx.reference.ops._op_list")

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        source = so_far.source
        if source.kind != "onnx":
            return
        assert source.path is not None
        options = ImportOptions(
            path=source.path,
            sha256=hash_file(source.path),
            inputs=so_far.inputs,
            samples=sample_count(recipe),
            own=OwnOptions.asked(recipe),
            seed=recipe.seed,
            task=source.task or "auto",
            pixels=recipe.pixels,
        )
        yield PlannedStage(self.name, self.name, options)
        so_far.roles |= dict.fromkeys(("samples", "expected", "model", "product"), self.name)
        so_far.labels[self.name] = "the graph as given"

    def run(self, inputs: Mapping[str, Path], options: ImportOptions, context: Context) -> ModelFacts:
        import onnx_ir as ir

        from enginesmith.converters.graphs.coarse import quantizes, ranks
        from enginesmith.converters.graphs.exercise import exercise
        from enginesmith.converters.graphs.index_ranges import index_ranges
        from enginesmith.converters.graphs.kernels import told as told_widened
        from enginesmith.converters.graphs.plugin_nodes import write_out

        sizes = {spec.name: [dim.max for dim in spec.dims] for spec in options.inputs}
        with unchanged({options.path: options.sha256}):
            model = load_graph(options.path, context.memory, sizes)
            with hashed(options.path.parent / name for name in external_files(model)) as external:
                _copy(model, external, options.path, context.out)
        plugins = write_out(context.out / MODEL)
        facts = describe(context.out / MODEL)
        if not facts.inputs:
            raise UserError(f"{options.path.name} has no inputs: it computes a constant")
        specs = resolve_inputs(facts.inputs, options.inputs)
        task = options.task if options.task != "auto" else "tensor"
        context.progress("reference outputs")
        pixels = options.pixels or "unknown"
        own = Own(more=options.own.read(specs, task, pixels), tables=index_ranges(ir.load(context.out / MODEL).graph))
        run, widened = _runner(context.out / MODEL, options.path.name)
        freed = unbaked(context.out / MODEL, context.scratch, facts.inputs, specs, own, task, run)
        if freed is not None:
            run = freed[0]
            facts = describe(context.out / MODEL)
        given = sized.write(context.out / MODEL, context.scratch, fixed_sizes(facts.inputs, specs))
        facts = describe(context.out / MODEL)

        def make(way: Way) -> tuple[SampleSet, list[Feed]]:
            made = make_samples(specs, task, options.samples, options.seed, pixels=pixels, own=own, way=way)
            if quantizes(facts.ops):
                return finite(*made)
            return finite(*made, keep_infinite=True) if ranks(facts.ops) else made

        with second_witness(given.path, context.out, context.scratch) as witness:
            specs, steering = with_values(specs, own, task, run)
            specs = settle(
                specs, [info.shape for info in facts.inputs], accepts(own, task, run, options.pixels or "unknown")
            )
            admitted = admit(make, own.ways(specs), run)
            given.check(admitted.samples, admitted.feeds, admitted.results)
            admitted.samples.own = own_precision(context.out / MODEL)
            exercised = exercise(
                context.out / MODEL,
                admitted.samples,
                admitted.feeds,
                admitted.results,
                run,
                admitted.pace,
                context.scratch,
                strict=False,
                progress=context.progress,
            )
            exercised.samples.save(context.out, exercised.feeds)
            context.progress("a second witness")
            told = witness.hear(exercised.results, admitted.pace)
        save_results(context.out, "ONNX Runtime, unoptimized", exercised.results)
        if any(told.exact):
            save_results(context.out, "onnx's reference evaluator in float64", told.exact, EXACT)
        if not all(told.exact):
            triples = zip(exercised.samples.samples, exercised.feeds, told.exact, strict=True)
            pairs = [None if exact else (sample, feed) for sample, feed, exact in triples]
            near = nudged(context.out / MODEL, run, pairs, context.scratch)
            save_results(context.out, "ONNX Runtime, on moved inputs or weights", near, MOVED)
        if any(told.contrary):
            save_results(context.out, "onnx's reference evaluator", told.contrary, WITNESS)
        doubt = Doubt(verified="proves nothing", reason=told.disputes[0]) if told.doubted else None
        widths = [told_widened(widened)] if widened else []
        warnings = [
            *([freed[1]] if freed else ()),
            *plugins,
            *widths,
            *given.warnings,
            *steering,
            *admitted.notes,
            *told.disputes,
        ]
        if not repeats(exercised.samples, exercised.feeds, exercised.results):
            doubt = Doubt(verified="no", reason=f"the graph {UNSTEADY}")
            warnings = [doubt.reason, *warnings]
        for warning in warnings:
            context.warn(warning)
        sources = {str(path): digest for path, digest in external.items()}
        weights = Weights(origin="model", detail=f"in {options.path.name}", sha256=options.sha256)
        return ModelFacts(
            **{
                **dict(facts),
                "weights": weights,
                "task": task,
                "pixels": pixels,
                "names": class_names(context.out / MODEL),
                "source_files": sources,
                "warnings": warnings,
                "doubt": doubt,
                "note": "; ".join(filter(None, (given.note, told.note))),
                "coverage": exercised.coverage,
            }
        )


def _copy(model: onnx.ModelProto, external: Collection[Path], path: Path, out: Path) -> None:
    """The model under its name in the store, and its external data, gathered in one file beside it."""
    import onnx

    if not external:
        (out / MODEL).write_bytes(path.read_bytes())
        return
    onnx.load_external_data_for_model(model, str(path.parent))
    onnx.save(model, str(out / MODEL), save_as_external_data=True, location=f"{MODEL}.data", size_threshold=1024)


def _runner(model: Path, name: str) -> tuple[Callable[[Feed], dict[str, Array]], list[str]]:
    """Runs the graph as it is written; and what of it is computed in float32 for want of a kernel. Raises ConversionError where
    ONNX Runtime can't load it."""
    try:
        session, widened = onnxruntime.opened(model, optimize=False)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no base but Exception
        traceback.print_exc()
        raise ConversionError(
            f"ONNX Runtime can't load {name}: {first_line(error)}",
            "without it there is nothing to compare with; check the file's opset and its custom operators",
        ) from None
    strange = [output.name for output in session.get_outputs() if not output.type.startswith("tensor(")]
    if strange:
        raise UserError(f"{name} returns {', '.join(strange)} as a sequence or a map; an engine returns tensors only")
    outputs = [output.name for output in session.get_outputs()]

    def run(feed: Feed) -> dict[str, Array]:
        try:
            return dict(zip(outputs, session.run(None, dict(feed)), strict=True))
        except Exception as error:
            if reason := wrong(model, error):
                raise UserError(f"{name}: {reason}") from error
            raise

    return run, widened
