"""ONNX in float32 to ONNX in fewer bits, with its stand-in for ONNX Runtime beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.records import Lowering
from enginesmith.converters.core.stage import MODEL, Context, Facts, Options, Stage
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.mix import Mix, Rest, apply, write

if TYPE_CHECKING:
    import onnx_ir as ir

STAND_IN_LABEL = "ONNX Runtime, rounding where the graph does"
"""What the stand-in's results are called in a comparison."""


class PrecisionOptions(Options):
    """`precision` is `fp16`, `bf16` or `int8`, and `rest` what computes in no integers then."""

    precision: str
    rest: Rest = "fp16"
    int8: Int8Options = Int8Options()
    keep_io: bool = True


class Lower(Stage[PrecisionOptions]):
    """Writes the graph and its stand-in. Fails where nothing could be lowered: an fp16 engine in float32 is none."""

    name = "precision"
    options = PrecisionOptions
    packages = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "ml-dtypes")

    def run(self, inputs: Mapping[str, Path], options: PrecisionOptions, context: Context) -> Facts:
        import onnx_ir as ir

        from enginesmith.converters.precision.int8.calibration import Calibration
        from enginesmith.converters.precision.lower import prepare

        calibrated = inputs.get("calibration")
        model = prepare(ir.load((calibrated or inputs["model"]) / MODEL), options.precision, options.rest)
        mix = whole(model, options.precision, options.rest).model_copy(update={"keep_io": options.keep_io})
        context.progress("rewriting")
        lowering = apply(model, mix, Calibration.load(calibrated) if calibrated else None, options.int8)
        _check_lowered(lowering, options.precision)
        write(model, mix, context.out)
        return lowered_facts(context.out, lowering)


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
    names = tuple(node.name or "" for node, reason in found.items() if not reason)
    if not names:
        why = Counter(found.values()).most_common(1)
        raise UserError(
            "asked int8, and the graph has nothing to quantize"
            + (f": of {len(found)} products, {why[0][1]} can't be: {why[0][0]}" if why else "")
            + "; build it in fp16"
        )
    return Mix(rest=rest, int8=names)


def lowered_facts(out: Path, lowering: Lowering) -> Facts:
    """What is known of the lowered graph in `out`."""
    total = sum(lowering.products_by_dtype.values())
    counts = ", ".join(
        f"{lowering.products_by_dtype[dtype]} {dtype}"
        for dtype in ("int8", "int8 weights", "float16", "bfloat16", "float32")
        if lowering.products_by_dtype.get(dtype)
    )
    return describe(out / MODEL).model_copy(
        update={
            "lowering": lowering,
            "findings": lowering.findings,
            "note": f"{total} products: {counts}; {lowering.casts} casts, weights "
            f"{lowering.weights_before / 1e6:.1f} to {lowering.weights_after / 1e6:.1f} MB",
        }
    )


def _check_lowered(lowering: Lowering, precision: str) -> None:
    """Raises ConversionError where no product is in the precision asked for."""
    if any(dtype.startswith(lowering.dtype) for dtype in lowering.products_by_dtype):
        return
    total = sum(lowering.products_by_dtype.values())
    reasons = Counter(kept.reason for kept in lowering.kept if kept.product)
    often = f": {reasons.most_common(1)[0][0]}" if reasons else ""
    raise ConversionError(f"asked {precision}, 0 of {total} products are {lowering.dtype}{often}", "build it in fp32")
