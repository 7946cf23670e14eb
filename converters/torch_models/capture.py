"""A PyTorch module as an exported program, from which the dynamo exporter writes the ONNX graph."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def capture(module: nn.Module, examples: tuple[torch.Tensor, ...], dynamic_shapes: Any) -> torch.export.ExportedProgram:
    """Export without Python's bytecode analysis, then with it, as `torch.onnx.export` does, and replace complex tensors by real
    ones and the operators that the ONNX exporter lacks. Raises what `torch.export.export` raises the first time, and
    ConversionError where complex tensors can't be replaced.
    """
    from torch.fx.experimental import _config

    from enginesmith.converters.torch_models.operators import decomposed
    from enginesmith.converters.torch_models.operators.real_pairs import in_pairs, is_complex

    with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # a dynamic size may be 0 or 1
        program = decomposed(_exported(module, examples, dynamic_shapes))
        if not is_complex(program):
            return program
        reals = in_pairs(
            program,
            inspect.signature(module.forward),
            examples,
            lambda reals, given: _export(reals, given, dynamic_shapes, strict=False),
        )
        return decomposed(reals)


def _exported(
    module: nn.Module, examples: tuple[torch.Tensor, ...], dynamic_shapes: Any
) -> torch.export.ExportedProgram:
    first: Exception | None = None
    for strict in (False, True):
        try:
            return _export(module, examples, dynamic_shapes, strict)
        except Exception as error:  # noqa: BLE001 - torch.export raises whatever the model does
            first = first or error
    assert first is not None
    raise first


def _export(
    module: nn.Module, examples: tuple[torch.Tensor, ...], dynamic_shapes: Any, strict: bool
) -> torch.export.ExportedProgram:
    """With the relations between sizes that torch itself suggests, where the model needs some."""
    import torch
    from torch.export.dynamic_shapes import refine_dynamic_shapes_from_suggested_fixes
    from torch.onnx._internal.exporter._capture_strategies import _patch_dynamic_shape_rnn_decompositions

    with _patch_dynamic_shape_rnn_decompositions(dynamic_shapes):
        try:
            return torch.export.export(module, examples, dynamic_shapes=dynamic_shapes, strict=strict)
        except torch._dynamo.exc.UserError as error:
            try:
                refined = refine_dynamic_shapes_from_suggested_fixes(error.msg, dynamic_shapes)
            except Exception:  # noqa: BLE001 - it parses a message
                raise error from None
            return torch.export.export(module, examples, dynamic_shapes=refined, strict=strict)
