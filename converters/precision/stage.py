"""ONNX in float32 to ONNX in 16 bits, with its stand-in for ONNX Runtime beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from enginesmith.converters.errors import ConversionError, first_line
from enginesmith.converters.graph import describe
from enginesmith.converters.records import Lowering
from enginesmith.converters.samples import SampleSet
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage

STAND_IN = "standin.onnx"
"""File name of the stand-in, beside the graph that it stands for."""
STAND_IN_LABEL = "ONNX Runtime, rounding where the graph has 16 bits"
"""What the stand-in's results are called in a comparison."""


class PrecisionOptions(Options):
    """`precision` is `fp16` or `bf16`."""

    precision: str


class Lower(Stage[PrecisionOptions]):
    """Writes the graph and its stand-in. Fails where nothing could be lowered: an fp16 engine in float32 is none."""

    name = "precision"
    options = PrecisionOptions
    packages = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "ml-dtypes")

    def run(self, inputs: Mapping[str, Path], options: PrecisionOptions, context: Context) -> Facts:
        import onnx
        import onnx_ir as ir

        from enginesmith.compat.graphs import weight_bytes
        from enginesmith.converters.backends import onnxruntime
        from enginesmith.converters.precision.formats import FORMATS
        from enginesmith.converters.precision.lower import lower, prepare
        from enginesmith.converters.precision.ranges import LARGE, measure_ranges
        from enginesmith.converters.precision.standin import stand_in

        model = prepare(ir.load(inputs["model"] / MODEL), options.precision)
        format = FORMATS[options.precision]
        ranges = None
        if options.precision == "fp16":
            context.progress("measuring ranges")
            _, feeds = SampleSet.load(inputs["samples"])
            ranges = measure_ranges(model, feeds, context.scratch)
        context.progress("rewriting")
        lowering = lower(model, options.precision, ranges)
        _check_lowered(lowering, options.precision)
        external = weight_bytes(model) > LARGE
        for name, graph in ((MODEL, model), (STAND_IN, stand_in(model, format.dtype))):
            path = context.out / name
            ir.save(graph, path, external_data=f"{name}.data" if external else None)
            try:
                onnx.checker.check_model(str(path), full_check=True)
                if name == STAND_IN or options.precision == "fp16":
                    onnxruntime.session(path, optimize=False)
            except Exception as error:
                raise ConversionError(f"the {format.name} graph is refused: {first_line(error)}") from error
        facts = describe(context.out / MODEL)
        done, total = lowering.products_by_dtype.get(format.name, 0), sum(lowering.products_by_dtype.values())
        return facts.model_copy(
            update={
                "lowering": lowering,
                "findings": lowering.findings,
                "note": f"{done} of {total} products in {format.name}, {lowering.casts} casts, weights "
                f"{lowering.weights_before / 1e6:.1f} to {lowering.weights_after / 1e6:.1f} MB",
            }
        )


def _check_lowered(lowering: Lowering, precision: str) -> None:
    """Raises ConversionError where no product is in the precision asked for."""
    if lowering.products_by_dtype.get(lowering.dtype):
        return
    total = sum(lowering.products_by_dtype.values())
    if not total:
        raise ConversionError(
            f"asked {precision}, and the graph has nothing to lower: no convolution, no product, no table of weights",
            "build it in fp32",
        )
    reasons = Counter(kept.reason for kept in lowering.kept if kept.product)
    often = f": {reasons.most_common(1)[0][0]}" if reasons else ""
    raise ConversionError(f"asked {precision}, 0 of {total} products are {lowering.dtype}{often}", "build it in fp32")
