"""A PyTorch module to an ONNX file, by PyTorch's two exporters."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.facts import GraphFacts
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import INPUTS, RESULTS, SAMPLES, Feed
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.torch_models.capture import FixedSizes, captured, in_reals
from enginesmith.converters.torch_models.dynamic import axis_names, export_dims, traced_shapes

if TYPE_CHECKING:
    import torch
    from torch import nn


DYNAMO = "dynamo"
TORCHSCRIPT = "torchscript"
TORCHSCRIPT_NEWEST = 20
"""The newest opset that TorchScript's exporter knows."""


@dataclass(frozen=True)
class Road:
    """One way to a graph: the exporter and the opset. `strict` captures with Python's bytecode analysis, `decomposed` replaces
    operators and complex tensors by ours; both are of the dynamo exporter alone."""

    tool: str
    opset: int
    strict: bool = False
    decomposed: bool = True

    def told(self, asked: int) -> str:
        """In a few words, where `asked` is the opset that the user wants."""
        words = [self.tool]
        words += [f"opset {self.opset}"] if self.opset != asked else []
        words += ["strict"] if self.strict else []
        words += [] if self.decomposed else ["its own translations"]
        return ", ".join(words)


class Exporter:
    """Writes a module as ONNX files by several roads. What the dynamo exporter captures of it is captured once."""

    def __init__(self, module: nn.Module, specs: Sequence[InputSpec], names: Sequence[str], example: Feed) -> None:
        """`names` are those of the outputs; `example` has inputs to follow the model on."""
        self.examples = _tensors(specs, example)
        self.module, self.specs, self.names = module, specs, list(names)
        self._programs: dict[bool, torch.export.ExportedProgram] = {}
        self._fixed: FixedSizes = {}
        self._real: dict[bool, torch.export.ExportedProgram] = {}

    def write(self, road: Road, path: Path) -> None:
        """Raises whatever the exporter meets, and ConversionError for a graph whose sizes aren't what was asked for."""
        if road.tool == DYNAMO:
            from enginesmith.converters.torch_models.operators import replacing

            shapes = _dynamic_shapes(self.module, self.specs)
            program = self._program(road, shapes)
            with replacing() if road.decomposed else nullcontext():
                _dynamo(program, shapes, self.specs, self.names, road.opset, path)
        else:
            opset = min(road.opset, TORCHSCRIPT_NEWEST)
            _torchscript(self.module, self.specs, self.examples, self.names, opset, path)
        _check_dynamic(describe(path), self.specs, self._fixed if road.tool == DYNAMO else {})

    def captured(self, road: Road) -> bool:
        """Has the dynamo exporter followed the module's code on that road?"""
        return road.strict in self._programs

    def replaced(self, road: Road) -> bool:
        """Have operators been replaced by ours on that road, or complex tensors?"""
        from enginesmith.converters.torch_models.operators import has_replaced

        program = self._programs.get(road.strict)
        if program is None or not road.decomposed:
            return False
        return self._real.get(road.strict) is not program or has_replaced(program)

    def blends(self, road: Road) -> bool:
        """Has the module Fourier transforms, which our operators write as products with matrices, or attention with a mask, whose
        zeros PyTorch's kernels multiply by what they hide, or don't?"""
        program = self._programs.get(road.strict)
        return program is not None and any(
            str(node.target).startswith(("aten.fft_", "aten._fft_", "aten.stft", "aten.istft")) or _hides(node)
            for node in program.graph.nodes
        )

    def _program(self, road: Road, shapes: Any) -> torch.export.ExportedProgram:
        if road.strict not in self._programs:
            self._programs[road.strict] = captured(self.module, self.examples, shapes, road.strict, self._fixed)
        if not road.decomposed:
            return self._programs[road.strict]
        if road.strict not in self._real:
            program = self._programs[road.strict]
            self._real[road.strict] = in_reals(program, self.module, self.examples, shapes)
        return self._real[road.strict]


def _hides(node: torch.fx.Node) -> bool:
    """Is it attention with a mask? Its arguments: queries, keys, values, mask, dropout, whether it is causal."""
    if not str(node.target).startswith("aten.scaled_dot_product_attention"):
        return False
    given = dict(zip(("", "", "", "attn_mask", "", "is_causal"), node.args, strict=False)) | node.kwargs
    return given.get("attn_mask") is not None or bool(given.get("is_causal"))


def _tensors(specs: Sequence[InputSpec], example: Feed) -> tuple[torch.Tensor, ...]:
    """The example to trace with. A dynamic size of 1 would be taken for a constant, so it is at least 2: the example repeated."""
    import torch

    from enginesmith.converters.data.derived import following, resized

    shapes = traced_shapes(specs)
    made = following({name: resized(example[name], shape) for name, shape in shapes.items()}, example)
    return tuple(torch.from_numpy(array.copy()) for array in made.values())


def _dynamic_shapes(module: nn.Module, specs: Sequence[InputSpec]) -> Any:
    """As `torch.export` takes them; None where all sizes are fixed."""
    shapes = export_dims(specs)
    if not any(shapes):
        return None
    return (shapes,) if _takes_varargs(module) else shapes


def _dynamo(
    program: torch.export.ExportedProgram,
    shapes: Any,
    specs: Sequence[InputSpec],
    names: list[str],
    opset: int,
    path: Path,
) -> None:
    import torch

    from enginesmith.compat.saving import save
    from enginesmith.converters.graphs.index_types import widen_indices
    from enginesmith.converters.graphs.open_clips import open_clips
    from enginesmith.converters.torch_models.rewrite_tolerance import nothing_rounded_away

    with nothing_rounded_away():
        written = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[spec.name for spec in specs],
            output_names=names,
            dynamic_shapes=shapes,  # for the names of the dimensions
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    assert written is not None
    widen_indices(written.model)
    open_clips(written.model)
    save(written.model, path)


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
        dynamic_axes={spec.name: axes for spec, axes in zip(specs, axis_names(specs), strict=True) if axes},
        opset_version=opset,
    )
    if sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers())) > saving.LARGE:
        # above protobuf's limit it scatters one file per weight; gather them
        kept = {SAMPLES, INPUTS, RESULTS} | {file.name for file in saving.save(ir.load(path), path)}
        for stray in path.parent.iterdir():
            if stray.name not in kept:
                stray.unlink()


def _check_dynamic(facts: GraphFacts, specs: Sequence[InputSpec], fixed: FixedSizes) -> None:
    """A dimension that was asked for as dynamic and came out fixed is a failed export, not a detail. `fixed` has the model's lines."""
    shapes = {info.name: info.shape for info in facts.inputs}
    for spec in specs:
        for axis, dim in enumerate(spec.dims):
            size = shapes[spec.name][axis] if spec.name in shapes else None
            if dim.dynamic and isinstance(size, int):
                line = fixed.get((axis, size), "")
                raise ConversionError(
                    f"dimension {axis} of {spec.name} was asked for as {dim.min}..{dim.opt}..{dim.max}, "
                    f"but the exporter fixed it at {size}" + (f" ({line})" if line else ""),
                    "the model computes with that size as a Python number: use tensor shapes in reshape and view, "
                    "try the other exporter (--exporter), or give a fixed shape",
                )
