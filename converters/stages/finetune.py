"""A torch model to the same model with other weights: trained for int8, for 2:4 sparsity, after a pruning."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.compat.findings import Finding
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import INTEGERS, Recipe
from enginesmith.converters.core.records import Weights
from enginesmith.converters.core.stage import GRAPHS, Context, Stage
from enginesmith.converters.core.stamps import unchanged
from enginesmith.converters.core.user_code import (
    CODE,
    called,
    check_defined,
    function_from_file,
    function_from_module,
)
from enginesmith.converters.core.user_files import files_read
from enginesmith.converters.data.options import DataOptions
from enginesmith.converters.torch_models.cut import Cut
from enginesmith.converters.torch_models.inputs import resolve_call
from enginesmith.converters.torch_models.prepare import WEIGHTS, take_weights
from enginesmith.converters.torch_models.source import LIBRARIES, TorchModelOptions, is_detector, model_options
from enginesmith.converters.training.distilling import PRUNED_RATE, RATE, distillation
from enginesmith.converters.training.record import FineTuning

if TYPE_CHECKING:
    from torch import nn

UNSEEN = "no input reached it in the training: its range will be that of the calibration"


NONE = "none"
"""What `finetune` is where pruning is all."""
DISTILLED = 512
"""Examples that a model learns from where the user gives no function, at most."""
FORM = "give path/to/file.py:function, or package.module:function: a function that trains the model that it is given"


class FinetuneOptions(TorchModelOptions):
    """`function` is one of the file `function_path`, or `package.module:function` without
    a file. Where it is empty the model learns from itself on `data`, and without these it is pruned alone."""

    function: str
    function_path: Path | None
    function_sha256: str
    data: DataOptions | None
    qat: bool
    sparse: bool


class FinetuneFacts(Facts):
    weights: Weights | None = None


class Finetune(Stage[FinetuneOptions]):
    """The artifact is a state dict that fits the model as it was given."""

    name = "finetune"
    options = FinetuneOptions
    facts = FinetuneFacts
    packages = LIBRARIES
    preload = (*GRAPHS, "torch")

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        source = so_far.source
        if source.kind in ("onnx", "exported-program", "torchscript"):
            for flag in ("finetune", "qat"):
                if getattr(recipe, flag):
                    raise UserError(f"{flag} trains PyTorch models, and {source.name} is a finished graph")
            if source.kind == "onnx":
                return  # `sparse` then only says that its weights are
            if recipe.sparse:
                raise UserError(f"sparse prunes PyTorch models, and {source.name} is a finished graph")
        if not (recipe.qat or recipe.sparse or recipe.prune):
            if recipe.finetune:
                raise UserError(
                    "finetune trains for int8, for sparse or for fewer weights; give --qat, --sparse or --prune"
                )
            return
        if recipe.qat and recipe.finetune == NONE:
            raise UserError("qat trains with int8's rounding: with --finetune none it has nothing to do")
        if recipe.qat and recipe.precision not in INTEGERS:
            raise UserError(
                f"qat trains for int8, and the precision is {recipe.precision}; give --precision int8 or auto"
            )
        if recipe.qat and recipe.equalize:
            raise UserError("equalize changes the weights that qat trains to be rounded; leave one of them out")
        if recipe.finetune == NONE and not (recipe.qat or recipe.sparse):
            return  # what is cut stays as it is
        function, path = _locate(recipe.finetune)
        data = None
        if not recipe.finetune:
            data = DataOptions.calibration(recipe, DISTILLED)
        options = FinetuneOptions(
            **model_options(recipe, source),
            function=function,
            function_path=path,
            function_sha256=hash_file(path) if path else "",
            data=data,
            qat=recipe.qat,
            sparse=recipe.sparse,
        )
        needs = so_far.needs("pruned", *(["samples"] if data is not None else []))
        yield PlannedStage(self.name, self.name, options, needs=needs)
        so_far.roles["finetuned"] = self.name

    def run(self, inputs: Mapping[str, Path], options: FinetuneOptions, context: Context) -> FinetuneFacts:
        import torch

        context.progress("loading the model")
        loaded = options.load()
        warnings = [*loaded.warnings]
        teacher = loaded.module
        if "pruned" in inputs:
            teacher = copy.deepcopy(loaded.module) if options.data is not None else loaded.module
            take_weights(loaded, inputs["pruned"])
        function, name = None, ""
        if options.function and options.function_path:
            name = called(options.function_path, options.function)
            with unchanged({options.function_path: options.function_sha256}):
                function = function_from_file(options.function_path, options.function)
        elif options.function:
            name = options.function
            function = function_from_module(name)
        elif options.data is not None:
            _check_teachable(loaded.module)
            dataset = options.data.open(inputs["samples"])
            name = f"distillation on {dataset.name}"
            rate = PRUNED_RATE if options.sparse or "pruned" in inputs else RATE
            feeds = partial(map, attrgetter("feed"), dataset)
            arguments, _ = resolve_call(loaded, dataset.specs)
            if teacher is loaded.module:
                teacher = copy.deepcopy(teacher)
            function = distillation(teacher, feeds, rate=rate, call=arguments.call)
            warnings += dataset.warnings
        torch.manual_seed(options.seed)
        record = fine_tune(
            loaded.module, function, name, qat=options.qat, sparse=options.sparse, progress=context.progress
        )
        if function is None:
            warnings.append("pruned and not trained since (--finetune none): expect the accuracy to fall")
        elif not record.trained:
            warnings.append(f"{name} has changed no weight")
        for warning in warnings:
            context.warn(warning)
        torch.save(loaded.module.state_dict(), context.out / WEIGHTS)
        record.save(context.out)
        if "pruned" in inputs:
            cut = Cut.load(inputs["pruned"])
            cut.untrained = cut.untrained and not options.function
            cut.save(context.out)
        return FinetuneFacts(
            weights=loaded.weights,
            warnings=warnings,
            unreachable=loaded.unreachable,
            findings=_left(loaded.module, record),
            note=_note(record),
            source_files=files_read(),
        )


def _locate(spec: str) -> tuple[str, Path | None]:
    """The function, and the file that it is in; of a module, `module:function` and no file."""
    if spec in ("", NONE):
        return "", None
    file, _, function = spec.rpartition(":")
    if not file or not function.isidentifier():
        raise UserError(f"finetune = {spec!r} names no function; {FORM}")
    if not file.endswith(CODE):
        return spec, None
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"finetune = {spec!r}: there is no file {file}; {FORM}")
    check_defined(path, function)
    return function, path.resolve()


def _check_teachable(model: nn.Module) -> None:
    """Raises UserError for a detector: which of its boxes is which changes with its weights."""
    if is_detector(model):
        raise UserError(
            "a detector learns from labelled boxes: give --finetune file.py:function, or none to prune alone"
        )


def fine_tune(
    model: nn.Module,
    function: Callable[[nn.Module], Any] | None,
    name: str = "",
    *,
    qat: bool,
    sparse: bool,
    progress: Callable[[str], None] = lambda text: None,
) -> FineTuning:
    """Change the model's weights in place, and nothing else of it. Without a function it is only pruned.

    With both, the zeros are made first, and the rounding keeps them. Raises UserError where nothing can be pruned or
    rounded, and as `train` does.
    """
    from enginesmith.converters.training.pruning import prune
    from enginesmith.converters.training.ranges import fingerprint
    from enginesmith.converters.training.rounding import Rounding
    from enginesmith.converters.training.training import train
    from enginesmith.converters.training.weighted import change, output_axis, pooled, settle, weight_of, weighted

    started = time.monotonic()
    layers, left = weighted(model)
    if not layers:
        raise UserError("the model has no convolution and no linear layer: nothing to fine-tune for int8 or sparsity")
    pruned, dense = prune(layers, pooled(model)) if sparse else ({}, {})
    if sparse and not pruned:
        reasons = "; ".join(f"{layer}: {reason}" for layer, reason in list(dense.items())[:3])
        raise UserError(f"no layer can be 2:4 sparse ({reasons}); leave --sparse out")
    rounding = Rounding(layers) if qat else None
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    steps, losses = train(function, name, model, progress) if function else (0, [])
    moved = change(model, before)
    ranges = rounding.remove() if rounding else {}
    unseen = dict.fromkeys(layers.keys() - ranges.keys(), UNSEEN) if rounding else {}
    settle(layers.values())
    model.eval()
    marks = {
        layer: fingerprint(weight_of(module).detach().numpy(), output_axis(module)) for layer, module in layers.items()
    }
    return FineTuning(
        function=name,
        rounded=list(layers) if qat else [],
        pruned=list(pruned),
        left={**left, **dense, **unseen},
        ranges=ranges,
        fingerprints=marks if qat else {},
        steps=steps,
        losses=losses,
        trained=moved,
        seconds=round(time.monotonic() - started, 2),
    )


def _left(model: nn.Module, record: FineTuning) -> list[Finding]:
    return [
        Finding(
            severity="info",
            op=type(model.get_submodule(layer)).__name__,
            node=layer,
            backend="",
            versions="",
            message=why,
        )
        for layer, why in record.left.items()
    ]


def _note(record: FineTuning) -> str:
    parts = []
    if record.rounded:
        parts.append(f"{len(record.rounded)} layers trained with int8's rounding")
    if record.pruned:
        parts.append(f"{len(record.pruned)} layers 2:4 sparse")
    if record.left:
        parts.append(f"{len(record.left)} left out")
    if record.steps:
        parts.append(f"{record.steps} steps")
    if len(record.losses) > 1:
        parts.append(f"loss {record.losses[0]:.3g} to {record.losses[-1]:.3g}")
    return ", ".join(parts)
