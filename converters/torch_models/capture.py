"""A PyTorch module as an exported program, from which the dynamo exporter writes the ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def capture(module: nn.Module, examples: tuple[torch.Tensor, ...], dynamic_shapes: Any) -> torch.export.ExportedProgram:
    """Export without Python's bytecode analysis, then with it, as `torch.onnx.export` does, and replace the operators that the ONNX
    exporter lacks. Raises what `torch.export.export` raises the first time.
    """
    from enginesmith.converters.torch_models.operators import decomposed

    first: Exception | None = None
    for strict in (False, True):
        try:
            program = _export(module, examples, dynamic_shapes, strict)
        except Exception as error:  # noqa: BLE001 - torch.export raises whatever the model does
            first = first or error
        else:
            return decomposed(program)
    assert first is not None
    raise first


def _export(
    module: nn.Module, examples: tuple[torch.Tensor, ...], dynamic_shapes: Any, strict: bool
) -> torch.export.ExportedProgram:
    """With the relations between sizes that torch itself suggests, where the model needs some."""
    import torch
    from torch.export.dynamic_shapes import refine_dynamic_shapes_from_suggested_fixes
    from torch.fx.experimental import _config
    from torch.onnx._internal.exporter._capture_strategies import _patch_dynamic_shape_rnn_decompositions

    with (
        _patch_dynamic_shape_rnn_decompositions(dynamic_shapes),
        _config.patch(backed_size_oblivious=True),  # type: ignore[attr-defined]  # a dynamic size may be 0 or 1
    ):
        try:
            return torch.export.export(module, examples, dynamic_shapes=dynamic_shapes, strict=strict)
        except torch._dynamo.exc.UserError as error:
            try:
                refined = refine_dynamic_shapes_from_suggested_fixes(error.msg, dynamic_shapes)
            except Exception:  # noqa: BLE001 - it parses a message
                raise error from None
            return torch.export.export(module, examples, dynamic_shapes=refined, strict=strict)
