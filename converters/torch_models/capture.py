"""A PyTorch module as an exported program, from which the dynamo exporter writes the ONNX graph."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    import torch
    from torch import nn

FixedSizes = dict[tuple[int, int], str]
"""The model's line that made a constant of a size, by the axis and the size."""
_AXIS = re.compile(r"\.size\(\)\[(\d+)\]$")
"""Of a size in the names that torch gives to what it follows."""


def capture(module: nn.Module, examples: tuple[torch.Tensor, ...], dynamic_shapes: Any) -> torch.export.ExportedProgram:
    """As `captured`, then `in_reals`."""
    return in_reals(captured(module, examples, dynamic_shapes), module, examples, dynamic_shapes)


def in_reals(
    program: torch.export.ExportedProgram, module: nn.Module, examples: tuple[torch.Tensor, ...], dynamic_shapes: Any
) -> torch.export.ExportedProgram:
    """What was captured of the module, without complex tensors; itself where it has none. Raises ConversionError where they
    can't be replaced.
    """
    from torch.fx.experimental import _config

    from enginesmith.converters.torch_models.operators import decomposed
    from enginesmith.converters.torch_models.operators.real_pairs import in_pairs, is_complex

    if not is_complex(program):
        return program
    with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # a dynamic size may be 0 or 1
        program = decomposed(program)
        if not is_complex(program):
            return program
        return in_pairs(
            program,
            inspect.signature(module.forward),
            examples,
            lambda reals, given: _export(reals, given, dynamic_shapes, strict=False),
        )


def captured(
    module: nn.Module,
    examples: tuple[torch.Tensor, ...],
    dynamic_shapes: Any,
    strict: bool = False,
    fixed: FixedSizes | None = None,
) -> torch.export.ExportedProgram:
    """Export without Python's bytecode analysis, then with it, as `torch.onnx.export` does; with it alone where `strict`. What
    makes a constant of a size is noted in `fixed`. Raises what `torch.export.export` raises the first time.
    """
    import torch

    torch._dynamo.reset()  # what a loop's earlier runs have taught it of sizes, some of which it would then take for inputs
    first: Exception | None = None
    for analysed in (True,) if strict else (False, True):
        try:
            with _noting(fixed if fixed is not None else {}):
                return _export(module, examples, dynamic_shapes, analysed)
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
    from torch.fx.experimental import _config

    from enginesmith.converters.torch_models.operators.packed import padded
    from enginesmith.converters.torch_models.operators.recurrent import kept_whole
    from enginesmith.converters.torch_models.operators.statistics import covariances_whole

    with (
        patch("torch.fx.proxy.TracerBase._filter_traceback_frames", _own_frames),
        # it compares the mask's numbers, to spare the mask: what is hidden is the same
        patch("torch.nn.modules.transformer._detect_is_causal_mask", _is_causal),
        kept_whole(),
        covariances_whole(),
        padded(),
        _config.patch(backed_size_oblivious=True),  # type: ignore[attr-defined]  # a dynamic size may be 0 or 1
    ):
        try:
            return torch.export.export(module, examples, dynamic_shapes=dynamic_shapes, strict=strict)
        except torch._dynamo.exc.UserError as error:
            try:  # it parses a message, and may suggest what torch itself refuses
                refined = refine_dynamic_shapes_from_suggested_fixes(error.msg, dynamic_shapes)
                return torch.export.export(module, examples, dynamic_shapes=refined, strict=strict)
            except Exception:  # noqa: BLE001 - the first error says what the model needs
                raise error from None


def _is_causal(mask: torch.Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    return is_causal is True


@contextmanager
def _noting(fixed: FixedSizes) -> Iterator[None]:
    """Note where the model's code makes a constant of a size, the first time that it does."""
    from torch._guards import TracingContext
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    from enginesmith.converters.torch_models.user_lines import line_of_frames

    replace = ShapeEnv._set_replacement

    def noting(env: Any, symbol: Any, target: Any, reason: str) -> None:
        names = [source.name for source in env.var_to_sources.get(symbol, ())] if target.is_number else []
        for axis in filter(None, map(_AXIS.search, names)):
            stack = TracingContext.extract_stack() or traceback.extract_stack()
            fixed.setdefault((int(axis[1]), int(target)), line_of_frames(_own_frames(None, stack)))
        replace(env, symbol, target, reason)

    with patch.object(ShapeEnv, "_set_replacement", noting):
        yield


def _own_frames(tracer: Any, stack: traceback.StackSummary) -> traceback.StackSummary:
    """What a node keeps of the stack: all from the first `forward` on, but torch's and ours. Torch itself keeps calls of `forward`
    alone, and the line that is to blame is often in a function that it calls.
    """
    import torch

    tools = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
    first = next((place for place, frame in enumerate(stack) if frame.name == "forward"), len(stack))
    return traceback.StackSummary.from_list([frame for frame in stack[first:] if not frame.filename.startswith(tools)])
