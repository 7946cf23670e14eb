"""PyTorch to ONNX: the model, its weights, its sample inputs, and the outputs that PyTorch itself gives for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.facts import ModelFacts
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.samples import EXACT, SHAKEN, TRIED, Array, Feed, Pixels, SampleSet, save_results
from enginesmith.converters.core.stage import GRAPHS, MODEL, Context, Stage
from enginesmith.converters.core.trees import Signature
from enginesmith.converters.core.user_files import files_read
from enginesmith.converters.data.admission import admit
from enginesmith.converters.data.maker import Way
from enginesmith.converters.data.options import OwnOptions, sample_count
from enginesmith.converters.data.samples import Own, make_samples, representative
from enginesmith.converters.data.steering import with_values
from enginesmith.converters.data.ties import accepts, settle
from enginesmith.converters.graphs.comparison import UNSTEADY, repeats
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.graphs.trial import Expected, Trial, try_graph
from enginesmith.converters.torch_models.arguments import in_numpy
from enginesmith.converters.torch_models.attempts import find_graph
from enginesmith.converters.torch_models.containers import tree_of
from enginesmith.converters.torch_models.exact import exact_results, shaken_results
from enginesmith.converters.torch_models.exporters import DYNAMO, TORCHSCRIPT, Exporter, Road
from enginesmith.converters.torch_models.failures import mixed_types
from enginesmith.converters.torch_models.loaded import LoadedModel
from enginesmith.converters.torch_models.outputs import flatten
from enginesmith.converters.torch_models.prepare import Prepared, PrepareOptions, load, prepare, prepare_options, seed
from enginesmith.converters.torch_models.source import LIBRARIES, LIVE
from enginesmith.converters.torch_models.tensor_names import distinct, valid

if TYPE_CHECKING:
    import torch

TORCH_LIBRARY = "onnxscript.function_libs.torch_lib.ops"
DETECTION_OUTPUTS = ("boxes", "scores", "labels")


ORIGINAL = "original"
"""Id of the export of a model that is then pruned or fine-tuned."""


class ExportOptions(PrepareOptions):
    """The model, its exporter, and the inputs to compare it on."""

    exporter: Literal["auto", "dynamo", "torchscript"]
    allow_baked: bool = False
    opset: int
    samples: int
    own: OwnOptions = OwnOptions()
    pixels: Pixels | None = None
    """None: as the model's library has it."""


class Export(Stage[ExportOptions]):
    """Exports with the dynamo exporter, then TorchScript's where that fails, or the other way round."""

    name = "export"
    options = ExportOptions
    facts = ModelFacts
    packages = (*LIBRARIES, "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "polygraphy")
    preload = (*GRAPHS, "torch", "torch.export._trace", "torch.onnx._internal.exporter._compat", TORCH_LIBRARY)

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        """Twice where the model is pruned or fine-tuned: as it was, and as it is then."""
        trained = "finetuned" in so_far.roles
        if so_far.source.kind == "onnx" or ("samples" in so_far.roles and not trained):
            return
        options = ExportOptions(
            **prepare_options(recipe, so_far),
            exporter=recipe.exporter,
            allow_baked=recipe.allow_baked,
            opset=recipe.opset,
            samples=sample_count(recipe),
            own=OwnOptions.asked(recipe),
            pixels=recipe.pixels,
        )
        first = not trained and (recipe.qat or recipe.sparse or recipe.prune is not None)
        id = ORIGINAL if first else self.name
        yield PlannedStage(id, self.name, options, needs=so_far.needs("finetuned"))
        so_far.roles |= dict.fromkeys(("samples", "expected", "model", "product"), id)
        so_far.labels[id] = "PyTorch"
        if first:
            so_far.roles["original"] = id

    def run(self, inputs: Mapping[str, Path], options: ExportOptions, context: Context) -> ModelFacts:
        """What a model keeps in tensors from call to call is an input and an output of its graph."""
        try:
            return self._export(inputs, options, context, {})
        except _Remembers as found:
            return self._export(inputs, options, context, found.kept)

    def _export(
        self, inputs: Mapping[str, Path], options: ExportOptions, context: Context, kept: Mapping[str, torch.Tensor]
    ) -> ModelFacts:
        import torch

        from enginesmith.converters.graphs.exercise import exercise
        from enginesmith.converters.torch_models.class_names import class_names
        from enginesmith.converters.torch_models.frozen import Examination, examine
        from enginesmith.converters.torch_models.kept_tensors import Kept
        from enginesmith.converters.torch_models.state import State

        context.progress("loading the model")
        loaded = load(options, inputs.get("finetuned"))
        for warning in loaded.warnings:
            context.warn(warning)
        with torch.no_grad():
            prepared = prepare(loaded, options, kept)
            unused, tensors = State(prepared.module), Kept(prepared.module)
            context.progress("PyTorch's own outputs")

            pixels = options.pixels or prepared.pixels
            own = Own(prepared.arguments.feed(), options.own.read(prepared.specs, prepared.task, pixels))
            random = loaded.weights.origin == "random"

            def make(way: Way) -> tuple[SampleSet, list[Feed]]:
                return make_samples(
                    prepared.specs, prepared.task, options.samples, options.seed, pixels=pixels, own=own, way=way
                )

            def begin(ordinary: list[Feed]) -> None:
                if random:
                    seed(loaded, prepared, ordinary, options.seed)

            def run(feed: Feed) -> dict[str, Array]:
                try:
                    return _named(prepared, _call(prepared, feed))
                except Exception as error:
                    if told := mixed_types(error):
                        raise UserError(told) from error
                    raise

            prepared.specs, steering = with_values(prepared.specs, own, prepared.task, run)
            takes = accepts(own, prepared.task, run, pixels)
            prepared.specs = settle(prepared.specs, (), takes)
            admitted = admit(make, own.ways(prepared.specs), run, begin)
            samples, feeds, results = admitted.samples, admitted.feeds, admitted.results
            samples.random_weights = random or loaded.untrained
            for note in (*steering, *admitted.notes):
                context.warn(note)
            warnings = [*loaded.warnings, *steering, *admitted.notes]
            if kept:
                warnings.append(_told(prepared.arguments.state))
                context.warn(warnings[-1])
            steady = repeats(samples, feeds, results)
            if not steady:
                warnings.append(f"the model {UNSTEADY}")
                context.warn(warnings[-1])
            tools = [DYNAMO, TORCHSCRIPT] if options.exporter == "auto" else [options.exporter]
            tools.sort(key=lambda tool: tool != prepared.first)
            names = list(results[0])
            made = _call(prepared, feeds[0])
            signature = _signature(prepared, made, names)
            if border := _bfloat16(prepared, made, names):
                warnings.append(border)
                context.warn(border)
            module = prepared.build()
            context.progress("what a trace would freeze")
            changing = tensors.changed(prepared.module)
            unused.restore()  # what the first input leaves behind is seen in a model that had none yet
            # the static detectors are ours, and torchvision writes its own to be traced
            sample = [torch.from_numpy(array.copy()) for array in representative(samples.samples, feeds).values()]
            frozen = Examination() if prepared.task == "detection" else examine(module, sample)
            if frozen.remembers and not kept and not options.allow_baked and changing:
                raise _Remembers(changing)
            refused = {tool: "" if options.allow_baked else frozen.baked(tool) for tool in tools}
            ordinary = [feeds[index] for index in samples.ordinary()]
            expected = Expected(
                samples,
                ordinary,
                results,
                lambda: exact_results(prepared.module, prepared.forward, ordinary, results, len(ordinary)),
            )

            def trial(path: Path, road: Road) -> Trial:
                return try_graph(path, expected, context, values=steady and frozen.doubt(road.tool) is None)

            exporter = Exporter(module, prepared.specs, names, feeds[0])
            found = find_graph(exporter, refused, options.opset, trial, context, remedy=frozen.remedy)
            if found.trial.widened:
                warnings.append(found.trial.widened)
                context.warn(warnings[-1])
            samples.own = found.trial.own
            doubt = frozen.doubt(found.road.tool)
            if doubt:
                context.warn(doubt.reason)
                samples.baked = doubt.reason if options.allow_baked else ""
            exercised = exercise(
                context.out / MODEL,
                samples,
                feeds,
                results,
                run,
                admitted.pace,
                context.scratch,
                strict=True,
                blending=exporter.blends(found.road),
                progress=context.progress,
            )
            exact, shaken = (
                rerun(
                    prepared.module,
                    prepared.forward,
                    exercised.feeds,
                    exercised.results,
                    len(exercised.samples.ordinary()),
                )
                for rerun in (exact_results, shaken_results)
            )
            if any(shaken):  # a probe whose rounding there was no time to see would fail a right graph
                probes = range(len(exercised.samples.ordinary()), len(shaken))
                unseen = [index for index in probes if not shaken[index]]
                exercised = exercised.without(unseen, "no time to see what rounding does to it")
                exact, shaken = (
                    [result for index, result in enumerate(found_again) if index not in unseen]
                    for found_again in (exact, shaken)
                )
        save_results(context.out, "PyTorch", exercised.results)
        if len(found.trial.outputs) == len(ordinary):
            save_results(context.out, "ONNX Runtime", found.trial.outputs, TRIED)
        if any(exact):
            save_results(context.out, "PyTorch in float64", exact, EXACT)
        if any(shaken):
            save_results(context.out, "PyTorch in float64, shaken", shaken, SHAKEN)
        exercised.samples.save(context.out, exercised.feeds)
        return ModelFacts(
            **{
                **dict(describe(context.out / MODEL)),
                "weights": loaded.weights.model_copy(
                    update={"sha256": loaded.weights.sha256 or _weights_hash(loaded, options)}
                ),
                "attempts": found.attempts,
                "warnings": warnings + ([doubt.reason] if doubt else []),
                "doubt": doubt,
                "task": prepared.task,
                "signature": signature,
                "pixels": options.pixels or prepared.pixels,
                "names": class_names(loaded, options.ref),
                "unreachable": loaded.unreachable,
                "note": found.road.told(options.opset),
                "coverage": exercised.coverage,
                "source_files": files_read(),
            }
        )


class _Remembers(Exception):
    """The model's answer depends on tensors that it keeps between calls."""

    def __init__(self, kept: Mapping[str, torch.Tensor]) -> None:
        self.kept = kept
        """By path, as some calls have left them: what inputs are like."""


def _told(state: Sequence[str]) -> str:
    one = len(state) == 1
    return (
        f"the model keeps {', '.join(state)} from call to call: {'it is an input' if one else 'they are inputs'} of the engine, "
        f"and {', '.join(f'{name}_out' for name in state)} {'an output' if one else 'outputs'}, for the next call"
    )


def _weights_hash(loaded: LoadedModel, options: ExportOptions) -> str:
    """Of the file that the weights were in; a library's are known by their name, a factory's by its source."""
    if loaded.weights.origin == "file":
        return options.weights_sha256
    return options.sha256 if options.kind in ("exported-program", "torchscript", LIVE) else ""


def _call(prepared: Prepared, feed: Feed) -> Any:
    import torch

    return prepared.forward(prepared.module)(*(torch.from_numpy(array.copy()) for array in feed.values()))


def _signature(prepared: Prepared, made: Any, names: Sequence[str]) -> Signature | None:
    """The structure of the inputs, and of the outputs of these names; None for a detector, whose engine has others."""
    if prepared.task == "detection":
        return None
    outputs = tree_of(made, iter(names))
    return Signature(arguments=prepared.arguments.trees(), outputs=outputs)


def _bfloat16(prepared: Prepared, made: Any, names: Sequence[str]) -> str:
    """Which inputs and outputs are float32 in the graph in place of bfloat16, for the user; empty for none."""
    import torch

    taken = [name for name, tensor in prepared.arguments.tensors.items() if tensor.dtype == torch.bfloat16]
    outputs = zip(names, flatten(made)[1], strict=True)
    given = [name for name, tensor in outputs if tensor.dtype == torch.bfloat16]
    told = ", ".join([*(f"input {name}" for name in taken), *(f"output {name}" for name in given)])
    return (
        f"in the graph float32 stands for bfloat16, which arrays lack, and holds the same numbers: {told}"
        if told
        else ""
    )


def _named(prepared: Prepared, made: Any) -> dict[str, Array]:
    import torch

    names, tensors = flatten(made)
    if not tensors:
        raise UserError("the model returns no tensor")
    inputs = [spec.name for spec in prepared.specs]
    names = list(DETECTION_OUTPUTS) if prepared.task == "detection" else distinct(map(valid, names), inputs)
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.layout != torch.strided:
            raise UserError(f"the model's output {name} is {tensor.layout}, which can't be compared")
    # copied, since a tensor may be the model's own, which the next call changes
    return {name: in_numpy(tensor).cpu().numpy().copy() for name, tensor in zip(names, tensors, strict=True)}
