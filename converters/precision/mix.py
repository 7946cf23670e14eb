"""A mix of precisions, and the graph that it makes: integers first, then 16 bits for what is left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from enginesmith.converters.core.errors import ConversionError, UserError, first_line
from enginesmith.converters.core.recipe import Rest
from enginesmith.converters.core.records import Kept, Lowering
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.precision.int8.options import Int8Options

if TYPE_CHECKING:
    import onnx_ir as ir

    from enginesmith.converters.precision.int8.calibration import Calibration

STAND_IN = "standin.onnx"
"""File name of the stand-in, beside the graph that it stands for."""
STAND_IN_LABEL = "ONNX Runtime, rounding where the graph does"
"""What the stand-in's results are called in a comparison."""


class Mix(BaseModel):
    """Which precision each product of a graph computes in. Nodes are named as `lower.prepare` leaves them."""

    model_config = ConfigDict(frozen=True)

    rest: Rest = "fp16"
    """Of everything that is not named."""
    int8: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    """Nodes that stay in float32."""
    keep_io: bool = True
    """Leave inputs and outputs in float32."""


def whole(model: ir.Model, precision: str, rest: Rest) -> Mix:
    """The lowest precision that was asked for, wherever it can be had. Raises UserError where that is nowhere."""
    from enginesmith.converters.precision import rules
    from enginesmith.converters.precision.int8.placement import candidates

    if not rules.products(model):
        raise UserError(
            f"asked {precision}, and the graph has nothing to lower: no convolution, no product, no table of weights; "
            "build it in fp32"
        )
    if precision != "int8":
        return Mix.model_validate({"rest": precision})
    found = candidates(model)
    mix = lowest(model, rest)
    if not mix.int8:
        why = Counter(found.values()).most_common(1)
        raise UserError(
            "asked int8, and the graph has nothing to quantize"
            + (f": of {len(found)} products, {why[0][1]} can't be: {why[0][0]}" if why else "")
            + "; build it in fp16"
        )
    return mix


def lowest(model: ir.Model, rest: Rest) -> Mix:
    """int8 wherever it can be had, and `rest` for the others, which may be all."""
    from enginesmith.converters.precision.int8.placement import candidates

    return Mix(rest=rest, int8=tuple(node.name or "" for node, reason in candidates(model).items() if not reason))


def apply(model: ir.Model, mix: Mix, calibration: Calibration | None, options: Int8Options) -> Lowering:
    """Rewrite a prepared float32 model in place.

    `calibration` is one of this very graph; it may be left out where no activation is int8 and `rest` has the range of
    float32.
    """
    from enginesmith.compat.graphs import weight_bytes
    from enginesmith.converters.graphs.structure import INT8
    from enginesmith.converters.precision.int8.quantize import quantize
    from enginesmith.converters.precision.lower import lower, summary

    before = weight_bytes(model)
    kept: list[Kept] = []
    if mix.int8:
        kept = quantize(model, mix.int8, calibration, options).kept
    if mix.rest == "fp32":
        made = summary(model, INT8 if mix.int8 else "float32", before, [], [])
    else:
        made = lower(model, mix.rest, calibration.peaks if calibration else None, wide=mix.wide, keep_io=mix.keep_io)
    named = {one.node for one in made.kept}
    return made.model_copy(
        update={
            "dtype": INT8 if mix.int8 else made.dtype,
            "weights_before": before,
            "kept": [*made.kept, *(one for one in kept if one.node not in named)],
        }
    )


@dataclass(frozen=True)
class Written:
    """A lowered graph on disk, and the file that ONNX Runtime runs in its place."""

    model: Path
    stand_in: Path


def write(model: ir.Model, mix: Mix, folder: Path) -> Written:
    """Save a lowered model and its stand-in into `folder`.

    Raises ConversionError where onnx's checker or ONNX Runtime refuses one: nobody else could use it either.
    """
    import onnx

    from enginesmith.compat.saving import save
    from enginesmith.converters.graphs import onnxruntime
    from enginesmith.converters.precision.formats import FORMATS
    from enginesmith.converters.precision.standin import stand_in

    graphs = {MODEL: model}
    if mix.rest != "fp32":
        graphs[STAND_IN] = stand_in(model, FORMATS[mix.rest].dtype)
    for name, graph in graphs.items():
        path = folder / name
        save(graph, path)
        try:
            onnx.checker.check_model(str(path), full_check=True)
            if name == STAND_IN or mix.rest != "bf16":  # for which ONNX Runtime's CPU has no kernels
                onnxruntime.session(path, optimize=False)
        except Exception as error:
            raise ConversionError(f"the lowered graph is refused: {first_line(error)}") from error
    return Written(folder / MODEL, folder / next(reversed(graphs)))
