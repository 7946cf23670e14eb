"""A PyTorch model made ready for export: loaded, its inputs known, tensors in and a flat tuple of tensors out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.plan import Draft
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.samples import Feed, Pixels
from enginesmith.converters.torch_models.arguments import Arguments, dtype_of
from enginesmith.converters.torch_models.cut import CUT, Cut, apply
from enginesmith.converters.torch_models.example import Example
from enginesmith.converters.torch_models.inputs import resolve_call
from enginesmith.converters.torch_models.kept_tensors import own_tensors
from enginesmith.converters.torch_models.loaded import LoadedModel
from enginesmith.converters.torch_models.outputs import flat
from enginesmith.converters.torch_models.source import TorchModelOptions, is_detector, model_options
from enginesmith.converters.torch_models.tensor_names import valid
from enginesmith.converters.torch_models.weights import load_weights

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHTS = "weights.pt"
"""File name of the state dict that a training leaves to the export."""


class PrepareOptions(TorchModelOptions):
    """The model, and the form in which it is exported."""

    stock: bool
    proposals: int | None
    inputs: tuple[InputSpec, ...]
    task: str


def prepare_options(recipe: Recipe, so_far: Draft) -> dict[str, Any]:
    """The fields of `PrepareOptions`, as a plan has them."""
    return {
        **model_options(recipe, so_far.source),
        "stock": recipe.stock,
        "proposals": recipe.proposals,
        "inputs": so_far.inputs,
        "task": so_far.source.task or "auto",
    }


@dataclass
class Prepared:
    """A model ready for export: tensors in, a flat tuple of tensors out."""

    build: Callable[[], nn.Module]
    """Makes the module to export; called once the weights are what they will be, since it may rearrange them."""
    module: nn.Module
    """The model as its author wrote it."""
    forward: Callable[[nn.Module], Callable[..., Any]]
    """Of that module, or of a copy: takes tensors, returns what the outputs are compared with."""
    arguments: Arguments
    specs: tuple[InputSpec, ...]
    task: str
    pixels: Pixels
    first: Literal["dynamo", "torchscript"] = "dynamo"
    """The exporter to try first."""


def rebuild(options: PrepareOptions, feeds: Sequence[Feed], finetuned: Path | None = None) -> nn.Module:
    """The module that the export stage gave to the exporter; `feeds` are its ordinary samples, `finetuned` is the
    artifact that it took the weights from.
    """
    import torch

    loaded = load(options, finetuned)
    with torch.no_grad():
        prepared = prepare(loaded, options)
        if more := feeds[0].keys() - prepared.arguments.tensors.keys():
            prepared = prepare(
                loaded, options, {path: t for path, t in own_tensors(loaded.module) if valid(path) in more}
            )
        if loaded.weights.origin == "random":
            seed(loaded, prepared, feeds, options.seed)
        return prepared.build().eval()


def load(options: PrepareOptions, finetuned: Path | None) -> LoadedModel:
    loaded = options.load()
    if finetuned is not None:
        take_weights(loaded, finetuned)
    return loaded


def take_weights(loaded: LoadedModel, folder: Path) -> None:
    """Give a loaded model the weights of an artifact, and its cut where it has one, in place."""
    done = "fine-tuned"
    if (folder / CUT).exists():
        cut, done = Cut.load(folder), "pruned"
        apply(loaded.module, cut)
        loaded.untrained = cut.untrained
    load_weights(loaded.module, folder / WEIGHTS, trust=False)
    was = loaded.weights
    loaded.weights = was.model_copy(
        update={
            "origin": "file",
            "detail": f"{done} from {was.origin} weights ({was.detail})",
            "sha256": hash_file(folder / WEIGHTS),
        }
    )


def prepare(loaded: LoadedModel, options: PrepareOptions, kept: Mapping[str, torch.Tensor] | None = None) -> Prepared:
    """`kept` are tensors that the model keeps between calls, by their path in it: inputs and outputs of the graph. Raises
    UserError."""
    if is_detector(loaded.module):
        loaded.example = _batch(loaded.example)
    arguments, specs = resolve_call(loaded, options.inputs)
    if kept:
        arguments = arguments.keeping(kept)
        specs += tuple(
            InputSpec.static(name, tuple(tensor.shape), dtype_of(tensor))
            for name, tensor in arguments.tensors.items()
            if name in arguments.state
        )
    if is_detector(loaded.module):
        return _prepare_detector(loaded.module, arguments, specs, options)
    if options.stock or options.proposals:
        raise UserError("--stock and --proposals are for torchvision's detectors, and this is none")
    task = options.task if options.task != "auto" else loaded.task
    return Prepared(
        build=lambda: flat(loaded.module, arguments),
        module=loaded.module,
        forward=lambda module: lambda *tensors: arguments.call(module, tensors),
        arguments=arguments,
        specs=specs,
        task=task,
        pixels=loaded.pixels,
        first="torchscript" if options.kind == "torchscript" else "dynamo",
    )


def _batch(example: Example) -> Example:
    """A detector's pictures, which are a list, as the one tensor that its engine takes."""
    import torch

    if len(example.args) != 1 or example.kwargs or not isinstance(example.args[0], list | tuple):
        return example
    pictures = example.args[0]
    if len({tuple(getattr(picture, "shape", ())) for picture in pictures}) != 1:
        raise UserError("a detector's engine takes pictures of one size; give such as the example")
    return Example((torch.stack([*pictures]),))


def _prepare_detector(
    module: nn.Module, arguments: Arguments, specs: tuple[InputSpec, ...], options: PrepareOptions
) -> Prepared:
    from enginesmith.converters.torch_models import detectors

    if len(specs) != 1 or len(specs[0].dims) != 4 or specs[0].opt[1] != 3 or specs[0].dtype != "float32":
        raise UserError("a detector takes one float32 input of shape Nx3xHxW; write for example SHAPE=1x3x320x320")
    spec = specs[0]
    if spec.dynamic:
        raise UserError("a detector is exported with one fixed shape; give one without `..`, such as SHAPE=1x3x320x320")
    batch, _, height, width = spec.opt
    detectors.fix_input_size(module, height, width)
    if options.stock:
        if batch != 1:
            raise UserError("--stock exports torchvision's own graph for one picture; give a batch of 1")
        build: Callable[[], nn.Module] = partial(detectors.StockDetector, module)
    else:
        build = partial(detectors.make_static, module, height, width, proposals=options.proposals)
    return Prepared(
        build=build,
        module=module,
        forward=lambda module: partial(detectors.reference_forward, module),
        arguments=arguments,
        specs=specs,
        task="detection",
        pixels="unit",
        # dynamo's stops at the stock graph's data-dependent shapes, and takes ten times as long over the static one's
        # unrolled suppression (99 s against 11 s)
        first="torchscript",
    )


def seed(loaded: LoadedModel, prepared: Prepared, feeds: Sequence[Feed], seed: int) -> None:
    """Make random weights behave on the samples: a factory's model on the first one, since it may count on its batch
    size, a library's on all of the same size. Raises whatever the model does on them."""
    import torch

    from enginesmith.converters.torch_models.seeding import seed_weights

    shapes = [array.shape for array in feeds[0].values()]
    alike = (
        [feed for feed in feeds if [array.shape for array in feed.values()] == shapes] if loaded.library else feeds[:1]
    )
    tensors = [torch.cat([torch.from_numpy(feed[name].copy()) for feed in alike]) for name in feeds[0]]
    if prepared.task == "detection":
        seed_weights(loaded.module, tensors[0], seed)
        return
    made = prepared.arguments.filled(tensors)
    seed_weights(loaded.module, made.args, seed, made.kwargs)
