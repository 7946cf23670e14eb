"""A PyTorch module to an ONNX file, by PyTorch's two exporters."""

from __future__ import annotations

import inspect
import re
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.facts import GraphFacts
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.records import Attempt
from enginesmith.converters.core.samples import INPUTS, RESULTS, SAMPLES, Feed
from enginesmith.converters.core.stage import MODEL, Context
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.torch_models.capture import capture

if TYPE_CHECKING:
    import torch
    from torch import nn


def export_onnx(
    module: nn.Module,
    specs: Sequence[InputSpec],
    names: list[str],
    tools: Mapping[str, str],
    opset: int,
    context: Context,
    example: Feed,
    remedy: str = "",
) -> list[Attempt]:
    """Write the module as `model.onnx`, with outputs called `names`, by the first of `tools` (`dynamo`, `torchscript`)
    that takes it; each says why it must not be tried, or nothing. `example` has inputs to follow the model on. Returns
    all attempts, the last one without an error; raises ConversionError when all failed, with the remedy where one must
    not be tried.
    """
    attempts: list[Attempt] = []
    if all(tools.values()):
        raise ConversionError(next(iter(tools.values())), remedy)
    for tool, refused in tools.items():
        if refused:
            attempts.append(Attempt(tool=tool, seconds=0, error=refused))
            continue
        context.progress(f"{tool} exporter")
        started = time.monotonic()
        error = ""
        try:
            exporter = _dynamo if tool == "dynamo" else _torchscript
            exporter(module, specs, _tensors(specs, example), names, opset, context.out / MODEL)
            _check_dynamic(describe(context.out / MODEL), specs)
        except Exception as caught:  # noqa: BLE001 - the exporters raise whatever they meet; each attempt is recorded
            traceback.print_exc()
            error = _root(caught)
        attempts.append(Attempt(tool=tool, seconds=round(time.monotonic() - started, 2), error=error))
        if not error:
            return attempts
        for path in context.out.glob(f"{MODEL}*"):
            path.unlink()
    reasons = "; ".join(f"{attempt.tool}: {attempt.error.splitlines()[0]}" for attempt in attempts)
    raise ConversionError(
        f"no exporter takes the model ({reasons})",
        remedy
        if any(tools.values())
        else "see the log for the place in the model; rewrite what depends on values (if, loops, boolean indexing) "
        "with torch.where or fixed sizes",
    )


def _root(error: BaseException) -> str:
    """The exception that the exporter's own were raised from: those only tell how to report a bug."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error)).strip()
    return f"{type(error).__name__}: {text[:2000]}"


def _tensors(specs: Sequence[InputSpec], example: Feed) -> tuple[torch.Tensor, ...]:
    """The example to trace with. A dynamic size of 1 would be taken for a constant, so it is at least 2: the example repeated."""
    import torch

    from enginesmith.converters.data.derived import following, resized

    shapes = {spec.name: tuple(max(dim.opt, 2) if dim.dynamic else dim.opt for dim in spec.dims) for spec in specs}
    made = following({name: resized(example[name], shape) for name, shape in shapes.items()}, example)
    return tuple(torch.from_numpy(array.copy()) for array in made.values())


def _axis_name(spec: InputSpec, axis: int) -> str:
    return "batch" if axis == 0 else re.sub(r"\W", "_", f"{spec.name}_{axis}")


def _dynamo(
    module: nn.Module,
    specs: Sequence[InputSpec],
    examples: tuple[torch.Tensor, ...],
    names: list[str],
    opset: int,
    path: Path,
) -> None:
    import torch

    from enginesmith.compat.saving import save

    dims: dict[str, Any] = {}

    def dim(spec: InputSpec, axis: int) -> Any:
        name = _axis_name(spec, axis)
        bounds = spec.dims[axis]
        return dims.setdefault(name, torch.export.Dim(name, min=bounds.min, max=bounds.max))

    shapes = tuple({axis: dim(spec, axis) for axis, d in enumerate(spec.dims) if d.dynamic} for spec in specs)
    dynamic = any(shapes)
    if dynamic and _takes_varargs(module):
        shapes = (shapes,)  # type: ignore[assignment]
    program = torch.onnx.export(
        capture(module, examples, shapes if dynamic else None),
        dynamo=True,
        input_names=[spec.name for spec in specs],
        output_names=names,
        dynamic_shapes=shapes if dynamic else None,  # for the names of the dimensions
        opset_version=opset,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    save(program.model, path)


def _takes_varargs(module: nn.Module) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds


def _torchscript(
    module: nn.Module,
    specs: Sequence[InputSpec],
    examples: tuple[torch.Tensor, ...],
    names: list[str],
    opset: int,
    path: Path,
) -> None:
    import onnx_ir as ir
    import torch

    from enginesmith.compat import saving

    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        module = torch.jit.trace(module, examples, check_trace=False)  # the exporter's own trace refuses scripted parts
    torch.onnx.export(
        module,
        examples,
        str(path),
        dynamo=False,
        input_names=[spec.name for spec in specs],
        output_names=names,
        dynamic_axes={
            spec.name: {axis: _axis_name(spec, axis) for axis, dim in enumerate(spec.dims) if dim.dynamic}
            for spec in specs
            if spec.dynamic
        },
        opset_version=min(opset, 20),  # the highest that this exporter knows
    )
    if sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers())) > saving.LARGE:
        # above protobuf's limit it scatters one file per weight; gather them
        kept = {SAMPLES, INPUTS, RESULTS} | {file.name for file in saving.save(ir.load(path), path)}
        for stray in path.parent.iterdir():
            if stray.name not in kept:
                stray.unlink()


def _check_dynamic(facts: GraphFacts, specs: Sequence[InputSpec]) -> None:
    """A dimension that was asked for as dynamic and came out fixed is a failed export, not a detail."""
    shapes = {info.name: info.shape for info in facts.inputs}
    for spec in specs:
        for axis, dim in enumerate(spec.dims):
            size = shapes[spec.name][axis] if spec.name in shapes else None
            if dim.dynamic and isinstance(size, int):
                raise ConversionError(
                    f"dimension {axis} of {spec.name} was asked for as {dim.min}..{dim.opt}..{dim.max}, "
                    f"but the exporter fixed it at {size}",
                    "the model computes with that size as a Python number: use tensor shapes in reshape and view, "
                    "try the other exporter (--exporter), or give a fixed shape",
                )
