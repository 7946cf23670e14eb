"""A torch model to the same model with fewer channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.compat.findings import Finding
from enginesmith.converters.compression.record import Pruning
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import Importance, Recipe
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.core.stage import GRAPHS, Context, Stage
from enginesmith.converters.core.user_files import files_read
from enginesmith.converters.torch_models.outputs import flat
from enginesmith.converters.torch_models.prepare import (
    WEIGHTS,
    Prepared,
    PrepareOptions,
    prepare,
    prepare_options,
    seed,
)
from enginesmith.converters.torch_models.source import LIBRARIES

if TYPE_CHECKING:
    from torch import nn


class PruneOptions(PrepareOptions):
    """`ratio` is the share of the channels that go."""

    ratio: float
    importance: Importance


class PruneFacts(Facts):
    pruning: Pruning | None = None


class Prune(Stage[PruneOptions]):
    """The artifact is the cut and a state dict that fits the model once it is cut."""

    name = "prune"
    options = PruneOptions
    facts = PruneFacts
    packages = LIBRARIES
    preload = (*GRAPHS, "torch", "torch.export._trace")

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        if recipe.prune is None:
            return
        source = so_far.source
        if source.kind in ("onnx", "exported-program", "torchscript"):
            raise UserError(f"prune cuts PyTorch models, and {source.name} is a finished graph")
        if recipe.sparse:
            raise UserError(
                "prune and sparse both take weights out, and nothing tells which of them cost what: give one"
            )
        options = PruneOptions(
            **prepare_options(recipe, so_far),
            ratio=recipe.prune,
            importance=recipe.importance,
        )
        yield PlannedStage(self.name, self.name, options, needs=so_far.needs("samples"))
        so_far.roles |= dict.fromkeys(("pruned", "finetuned"), self.name)

    def run(self, inputs: Mapping[str, Path], options: PruneOptions, context: Context) -> PruneFacts:
        import torch

        from enginesmith.converters.compression.pruning import prune

        context.progress("loading the model")
        loaded = options.load()
        samples, feeds = SampleSet.load(inputs["samples"])
        ordinary = [feeds[index] for index in samples.ordinary()]
        with torch.no_grad():
            prepared = prepare(loaded, options)
            if missing := [name for name in ordinary[0] if name not in prepared.arguments.tensors]:
                raise UserError(f"the model keeps {', '.join(missing)} from call to call; such a model can't be pruned")
            random = loaded.weights.origin == "random"
            if random:
                seed(loaded, prepared, ordinary, options.seed)
            tensors = [torch.from_numpy(array.copy()) for array in ordinary[0].values()]
            cut, record = prune(
                loaded.module,
                flattener(prepared),
                tensors,
                options.ratio,
                kind=options.importance,
                seed=options.seed,
                progress=context.progress,
            )
        cut.untrained = random
        cut.save(context.out)
        record.save(context.out)
        torch.save(loaded.module.state_dict(), context.out / WEIGHTS)
        return PruneFacts(
            pruning=record,
            warnings=list(loaded.warnings),
            unreachable=loaded.unreachable,
            findings=[
                Finding(severity="info", op="channels", node=name, backend="", versions="", message=why)
                for name, why in record.left.items()
            ],
            note=_note(record),
            source_files=files_read(),
        )


def flattener(prepared: Prepared) -> Callable[[nn.Module], nn.Module]:
    """How the model becomes a module with tensors in and out; of a detector, what has weights in it."""
    if prepared.task == "detection":
        from enginesmith.converters.torch_models.detectors.parts import Parts

        return Parts
    return lambda module: flat(module, prepared.arguments)


def _note(record: Pruning) -> str:
    (whole, left), (slow, fast) = record.parameters, record.operations
    return (
        f"{len(record.groups)} groups of channels cut, {1 - left / whole:.0%} of the weights and "
        f"{1 - fast / slow:.0%} of the operations gone; proved within {record.difference:.0e}"
    )
