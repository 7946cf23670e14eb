"""ONNX in float32 to ONNX in fewer bits, with its stand-in for ONNX Runtime beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import AUTO, FP32, Recipe, Rest
from enginesmith.converters.core.records import Lowering
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.precision.facts import LoweredFacts, doubt_of, lowered, lowered_facts
from enginesmith.converters.precision.int8.options import Int8Options, kept_patterns
from enginesmith.converters.precision.mix import apply, whole, write


class PrecisionOptions(Options):
    """`precision` is `fp16`, `bf16` or `int8`, and `rest` what computes in no integers then."""

    precision: str
    rest: Rest = "fp16"
    int8: Int8Options = Int8Options()
    keep: tuple[str, ...] = ()
    """What stays in float32, where `precision` has 16 bits: as `precision.keep` reads it."""
    keep_io: bool = True


class Lower(Stage[PrecisionOptions]):
    """Writes the graph and its stand-in. Fails where nothing could be lowered: an fp16 engine in float32 is none."""

    name = "precision"
    options = PrecisionOptions
    facts = LoweredFacts
    packages = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "ml-dtypes")

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        if recipe.precision in (FP32, AUTO):
            return
        options = PrecisionOptions(
            precision=recipe.precision,
            rest=so_far.rest,
            int8=Int8Options.asked(recipe),
            keep=kept_patterns(recipe) if recipe.precision != "int8" else (),
            keep_io=not recipe.low_io,
        )
        needs = so_far.needs("model", "samples", "calibration")
        id = so_far.id(self.name)
        yield PlannedStage(id, self.name, options, needs=needs, after=(so_far.roles["expected"],))
        lowered(so_far, id)

    def run(self, inputs: Mapping[str, Path], options: PrecisionOptions, context: Context) -> LoweredFacts:
        import onnx_ir as ir

        from enginesmith.converters.precision.int8.calibration import Calibration
        from enginesmith.converters.precision.keep import wide
        from enginesmith.converters.precision.lower import prepare

        calibrated = inputs.get("calibration")
        model = prepare(ir.load((calibrated or inputs["model"]) / MODEL), options.precision, options.rest)
        mix = whole(model, options.precision, options.rest).model_copy(
            update={"keep_io": options.keep_io, "wide": wide(model, options.keep)}
        )
        context.progress("rewriting")
        lowering = apply(model, mix, Calibration.load(calibrated) if calibrated else None, options.int8)
        _check_lowered(lowering, options.precision)
        write(model, mix, context.out)
        return lowered_facts(context.out, lowering).model_copy(update={"doubt": doubt_of(inputs["samples"])})


def _check_lowered(lowering: Lowering, precision: str) -> None:
    """Raises ConversionError where no product is in the precision asked for."""
    if any(dtype.startswith(lowering.dtype) for dtype in lowering.products_by_dtype):
        return
    total = sum(lowering.products_by_dtype.values())
    reasons = Counter(kept.reason for kept in lowering.kept if kept.product)
    often = f": {reasons.most_common(1)[0][0]}" if reasons else ""
    raise ConversionError(f"asked {precision}, 0 of {total} products are {lowering.dtype}{often}", "build it in fp32")
