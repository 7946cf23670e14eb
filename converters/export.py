"""PyTorch to ONNX: the model, its weights, its sample inputs, and the outputs that PyTorch itself gives for them."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from enginesmith.converters.errors import UserError, first_line
from enginesmith.converters.exporters import export_onnx
from enginesmith.converters.finetune.artifact import take_weights
from enginesmith.converters.graph import describe
from enginesmith.converters.inputs import InputSpec
from enginesmith.converters.outputs import distinct, flat, flatten
from enginesmith.converters.samples import (
    Array,
    Feed,
    Pixels,
    make_samples,
    save_results,
)
from enginesmith.converters.stage import GRAPHS, MODEL, Context, Facts, Stage
from enginesmith.converters.torch_source import LoadedModel, TorchModelOptions, is_detector
from enginesmith.converters.user_code import own_sources

if TYPE_CHECKING:
    from torch import nn

TORCH_LIBRARY = "onnxscript.function_libs.torch_lib.ops"
DETECTION_OUTPUTS = ("boxes", "scores", "labels")


class ExportOptions(TorchModelOptions):
    """The model, what becomes of it, and the inputs to compare it on."""

    stock: bool
    proposals: int | None
    exporter: Literal["auto", "dynamo", "torchscript"]
    opset: int
    inputs: tuple[InputSpec, ...]
    samples: int
    task: str
    pixels: Pixels | None = None
    """None: as the model's library has it."""


@dataclass
class Prepared:
    """A model ready for export: tensors in, a flat tuple of tensors out."""

    build: Callable[[], nn.Module]
    """Makes the module to export; called once the weights are what they will be, since it may rearrange them."""
    reference: Callable[..., Any]
    """What the outputs are compared with: the model as its author wrote it."""
    specs: tuple[InputSpec, ...]
    task: str
    pixels: Pixels
    first: Literal["dynamo", "torchscript"] = "dynamo"
    """The exporter to try first."""


class Export(Stage[ExportOptions]):
    """Exports with the dynamo exporter, then TorchScript's where that fails, or the other way round."""

    name = "export"
    options = ExportOptions
    packages = ("torch", "torchvision", "timm", "onnx", "onnxscript", "polygraphy")
    preload = (*GRAPHS, "torch", "torch.export._trace", "torch.onnx._internal.exporter._compat", TORCH_LIBRARY)

    def run(self, inputs: Mapping[str, Path], options: ExportOptions, context: Context) -> Facts:
        import torch

        context.progress("loading the model")
        loaded = _load(options, inputs.get("finetuned"))
        for warning in loaded.warnings:
            context.warn(warning)
        with torch.no_grad():
            prepared = _prepare(loaded, options)
            samples, feeds = make_samples(
                prepared.specs, prepared.task, options.samples, options.seed, pixels=options.pixels or prepared.pixels
            )
            if loaded.weights.origin == "random":
                _seed(loaded, prepared.task, feeds, options.seed)
            context.progress("PyTorch's own outputs")
            results = _reference(prepared, feeds)
            warnings = [*loaded.warnings]
            if not _repeats(results):
                warnings.append("the model answers the same input differently: it keeps state or draws random numbers")
                context.warn(warnings[-1])
            save_results(context.out, "PyTorch", results)
            samples.save(context.out, feeds)
            tools = ["dynamo", "torchscript"] if options.exporter == "auto" else [options.exporter]
            tools.sort(key=lambda tool: tool != prepared.first)
            names = list(results[0])
            attempts = export_onnx(prepared.build(), prepared.specs, names, tools, options.opset, context)
        facts = describe(context.out / MODEL)
        return facts.model_copy(
            update={
                "weights": loaded.weights.model_copy(
                    update={"sha256": loaded.weights.sha256 or _weights_hash(loaded, options)}
                ),
                "attempts": attempts,
                "warnings": warnings,
                "task": prepared.task,
                "unreachable": loaded.unreachable,
                "note": next(attempt.tool for attempt in attempts if not attempt.error),
                "source_files": own_sources(),
            }
        )


def rebuild(options: ExportOptions, feeds: Sequence[Feed], finetuned: Path | None = None) -> nn.Module:
    """The module that `Export.run` gave to the exporter; `feeds` are the samples that it made, `finetuned` is the
    artifact that it took the weights from.
    """
    import torch

    loaded = _load(options, finetuned)
    with torch.no_grad():
        prepared = _prepare(loaded, options)
        if loaded.weights.origin == "random":
            _seed(loaded, prepared.task, feeds, options.seed)
        return prepared.build().eval()


def _load(options: ExportOptions, finetuned: Path | None) -> LoadedModel:
    loaded = options.load()
    if finetuned is not None:
        take_weights(loaded, finetuned)
    return loaded


def _weights_hash(loaded: LoadedModel, options: ExportOptions) -> str:
    """Of the file that the weights were in; a library's are known by their name, a factory's by its source."""
    if loaded.weights.origin == "file":
        return options.weights_sha256
    return options.sha256 if options.kind in ("exported-program", "torchscript") else ""


def _prepare(loaded: LoadedModel, options: ExportOptions) -> Prepared:
    specs = _resolve_inputs(loaded, options)
    if is_detector(loaded.module):
        return _prepare_detector(loaded.module, specs, options)
    if options.stock or options.proposals:
        raise UserError("--stock and --proposals are for torchvision's detectors, and this is none")
    task = options.task if options.task != "auto" else ("classification" if loaded.library else "tensor")
    return Prepared(
        build=lambda: flat(loaded.module),
        reference=loaded.module,
        specs=specs,
        task=task,
        pixels="imagenet" if loaded.library else "unknown",
        first="torchscript" if options.kind == "torchscript" else "dynamo",
    )


def _prepare_detector(module: nn.Module, specs: tuple[InputSpec, ...], options: ExportOptions) -> Prepared:
    from enginesmith.converters import detectors

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
        reference=lambda images: detectors.reference_forward(module, images),
        specs=specs,
        task="detection",
        pixels="unit",
        # dynamo's stops at the stock graph's data-dependent shapes, and takes ten times as long over the static one's
        # unrolled suppression (99 s against 11 s)
        first="torchscript",
    )


def _resolve_inputs(loaded: LoadedModel, options: ExportOptions) -> tuple[InputSpec, ...]:
    """Shapes as asked for, else from the factory's example, else the library's default; names from `forward`."""
    specs = options.inputs
    if not specs and loaded.example:
        specs = tuple(
            InputSpec.static("", tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            for tensor in loaded.example
        )
    if not specs and loaded.library:
        size = tuple(getattr(loaded.module, "pretrained_cfg", {}).get("input_size", (3, 224, 224)))
        specs = (InputSpec.static("images", (1, *size)),)
    if not specs:
        raise UserError("this model has no default shape; give SHAPE, such as SHAPE=1x3x224x224 or 'ids:1x128:int64'")
    parameters = _positional(loaded.module)
    names = [spec.name for spec in specs]
    if parameters and all(name in parameters for name in names):
        specs = tuple(sorted(specs, key=lambda spec: parameters.index(spec.name)))
        if [spec.name for spec in specs] != parameters[: len(specs)]:  # they are given by position
            raise UserError(f"the model's inputs are {', '.join(parameters)}; give the first ones without a gap")
        return specs
    if any(names) and len(specs) > 1 and parameters:
        raise UserError(f"the model's inputs are {', '.join(parameters)}, not {', '.join(names)}")
    defaults = [*parameters, *(f"input{i}" for i in range(len(specs)))]
    return tuple(
        spec if spec.name else spec.model_copy(update={"name": default})
        for spec, default in zip(specs, defaults, strict=False)
    )


def _positional(module: nn.Module) -> list[str]:
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # a ScriptModule shows none
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def _seed(loaded: LoadedModel, task: str, feeds: Sequence[Feed], seed: int) -> None:
    """Make random weights behave on the samples: a factory's model on the first one, since it may count on its batch
    size, a library's on all of the same size."""
    import torch

    from enginesmith.converters.seeding import seed_weights

    shapes = [array.shape for array in feeds[0].values()]
    alike = (
        [feed for feed in feeds if [array.shape for array in feed.values()] == shapes] if loaded.library else feeds[:1]
    )
    tensors = [torch.cat([torch.from_numpy(feed[name].copy()) for feed in alike]) for name in feeds[0]]
    _guard(lambda: seed_weights(loaded.module, tensors[0] if task == "detection" else tensors, seed), feeds[0])


def _guard(call: Callable[[], Any], feed: Feed) -> Any:
    """Run the user's model; whatever it raises is the fault of the input."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - a stranger's forward may raise anything
        traceback.print_exc()
        shapes = " ".join(f"{name}:{'x'.join(map(str, array.shape))}" for name, array in feed.items())
        raise UserError(
            f"the model refuses the input {shapes}: {type(error).__name__}: {first_line(error)}; give another SHAPE"
        ) from None


def _reference(prepared: Prepared, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
    """The outputs by name, on every sample, of the model as its author wrote it."""
    import torch

    inputs = [spec.name for spec in prepared.specs]
    results = []
    for feed in feeds:
        arguments = [torch.from_numpy(array.copy()) for array in feed.values()]
        made = _guard(lambda arguments=arguments: prepared.reference(*arguments), feed)  # type: ignore[misc]
        names, tensors = flatten(made)
        if not tensors:
            raise UserError("the model returns no tensor")
        names = list(DETECTION_OUTPUTS) if prepared.task == "detection" else distinct(names, inputs)
        for name, tensor in zip(names, tensors, strict=True):
            if tensor.dtype == torch.bfloat16 or tensor.is_complex() or tensor.layout != torch.strided:
                raise UserError(f"the model's output {name} is {tensor.dtype} {tensor.layout}, which can't be compared")
        # copied, since a tensor may be the model's own, which the next call changes
        results.append({name: tensor.cpu().numpy().copy() for name, tensor in zip(names, tensors, strict=True)})
    return results


def _repeats(results: Sequence[dict[str, Array]]) -> bool:
    """Whether the last sample, which is the first one again, gave the same outputs."""
    import numpy as np

    first, again = results[0], results[-1]
    return all(
        array.shape == again[name].shape
        and np.allclose(array.astype(np.float64), again[name].astype(np.float64), rtol=1e-4, atol=1e-6, equal_nan=True)
        for name, array in first.items()
    )
