"""Run the calibration data through the float32 graph once, and keep what its tensors' ranges are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from enginesmith.compat.migrations.calibration_cache import CalibrationCache, parse
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import AUTO, FP32, INTEGERS, Recipe
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.core.stamps import unchanged
from enginesmith.converters.core.user_files import files_read
from enginesmith.converters.data.options import DataOptions

FEW = 8
"""Examples for random weights."""


class CalibrateOptions(Options):
    """`precision` and `rest` as the user asks for them: they decide on the graph's opset, and whether histograms are
    needed.
    """

    precision: str
    rest: str
    data: DataOptions
    equalize: bool = False
    ranges: Path | None = None
    """TensorRT's calibration cache, whose ranges stand; its SHA-256 makes the file's content part of the key."""
    ranges_sha256: str = ""


class Calibrate(Stage[CalibrateOptions]):
    """The artifact is a `Calibration`, and the graph that it is of: prepared and, if asked to, equalized. One example is
    in memory at a time.
    """

    name = "calibrate"
    options = CalibrateOptions
    packages = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "pillow")

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        if recipe.precision in (FP32, "bf16"):  # bf16 has the range of float32
            return
        integers = recipe.precision in INTEGERS
        ranges = _located(recipe) if integers else None
        roles = {"calibration": integers and recipe.equalize}
        if recipe.precision == AUTO and not recipe.equalize and not recipe.qat:
            roles["equalized"] = True  # the search tries both
        for role, equalize in roles.items():
            id = self.name if role == "calibration" else f"{self.name} {role}"
            options = CalibrateOptions(
                precision=recipe.precision,
                rest=so_far.rest,
                data=DataOptions.calibration(recipe),
                equalize=equalize,
                ranges=ranges,
                ranges_sha256=hash_file(ranges) if ranges else "",
            )
            needs = so_far.needs("model", "samples", *(["finetuned"] if recipe.qat else []))
            yield PlannedStage(id, self.name, options, needs=needs, after=(so_far.roles["expected"],))
            so_far.roles[role] = id

    def run(self, inputs: Mapping[str, Path], options: CalibrateOptions, context: Context) -> Facts:
        import onnx_ir as ir

        from enginesmith.compat.saving import save
        from enginesmith.converters.precision.int8.calibration import calibrate
        from enginesmith.converters.precision.int8.equalize import equalize
        from enginesmith.converters.precision.int8.placement import observed
        from enginesmith.converters.precision.lower import prepare
        from enginesmith.converters.training.ranges import trained_ranges
        from enginesmith.converters.training.record import FineTuning

        dataset = options.data.open(inputs["samples"])
        # what is calibrated with random weights proves nothing, and takes as long
        most = FEW if SampleSet.load(inputs["samples"])[0].random_weights else None
        model = prepare(ir.load(inputs["model"] / MODEL), options.precision, options.rest)

        def feeds() -> Iterator[Mapping[str, Any]]:
            return (example.feed for example in islice(dataset, most))

        if options.equalize:
            context.progress("equalizing channels")
            equalize(model, feeds(), context.scratch)
        names = observed(model) if options.precision in ("int8", "auto") else []
        found = calibrate(model, feeds, context.scratch, names, context.progress)
        warnings = list(dataset.warnings)
        if "finetuned" in inputs:
            found.fixed, lost = trained_ranges(model, FineTuning.load(inputs["finetuned"]))
            if lost:
                warnings.append(
                    f"{len(lost)} of the layers that were trained in int8 are not found in the graph, and calibrated "
                    f"like others: {', '.join(lost[:3])}" + (", ..." if len(lost) > 3 else "")
                )
        if options.ranges is not None:
            with unchanged({options.ranges: options.ranges_sha256}):
                thresholds = _read(options.ranges).thresholds()
            found.fixed = {name: thresholds[name] for name in names if name in thresholds}
            if left := [name for name in names if name not in thresholds]:
                warnings.append(
                    f"{options.ranges.name} has ranges of {len(found.fixed)} of the {len(names)} tensors that int8 is asked "
                    f"about; the others are measured: {', '.join(left[:3])}" + (", ..." if len(left) > 3 else "")
                )
        found.save(context.out)
        save(model, context.out / MODEL)
        for warning in warnings:
            context.warn(warning)
        return Facts(warnings=warnings, source_files=files_read(), note=f"{found.samples} examples of {dataset.name}")


def _located(recipe: Recipe) -> Path | None:
    """The calibration cache that a recipe names. Raises UserError where it can't be used."""
    if recipe.ranges is None:
        return None
    if recipe.qat or recipe.equalize:
        other = "qat trains ranges of its own" if recipe.qat else "equalize changes the ranges"
        raise UserError(f"ranges are for the weights as they are, and {other}; leave one of them out")
    path = recipe.ranges.expanduser().resolve()
    _read(path)
    return path


def _read(path: Path) -> CalibrationCache:
    """Raises UserError for what is no calibration cache of TensorRT."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise UserError(f"ranges = {str(path)!r} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"ranges = {str(path)!r} is no calibration cache of TensorRT: {error}") from None
