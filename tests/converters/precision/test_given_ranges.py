"""`ranges`: a calibration cache of TensorRT stands for what would be measured."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graphs import model, normal
from test_stage import Road

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.plan import Draft
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.precision.int8.calibration import Calibration
from enginesmith.converters.precision.int8.placement import observed
from enginesmith.converters.precision.lower import prepare
from enginesmith.converters.stages.calibrate import Calibrate, CalibrateOptions

NET = """
two (float[1, 8] x) => (float[1, 8] y) {
  h = MatMul (x, w1)
  r = Relu (h)
  y = MatMul (r, w2)
}
"""


def cache_of(folder: Path, ranges: dict[str, float]) -> Path:
    lines = [f"{name}: {struct.pack('>f', peak / 127).hex()}" for name, peak in ranges.items()]
    path = folder / "calib.cache"
    path.write_text("\n".join(["TRT-8601-EntropyCalibration2", *lines, ""]))
    return path


def calibrated(road: Road, cache: Path | None) -> tuple[Calibration, list[str]]:
    context = road.context("calibrated")
    options = CalibrateOptions(
        precision="int8",
        rest="fp32",
        data=road.data("calibration"),
        ranges=cache,
        ranges_sha256=hash_file(cache) if cache else "",
    )
    facts = Calibrate().run({"model": road.source, "samples": road.source}, options, context)
    return Calibration.load(context.out), facts.warnings


@pytest.fixture
def road(tmp_path: Path) -> Road:
    return Road(tmp_path, model(NET, w1=normal(8, 8), w2=normal(8, 8)), {"x": normal(1, 8)})


def test_ranges_of_the_cache_stand_whatever_is_measured(road: Road, tmp_path: Path) -> None:
    names = observed(prepare(ir.load(road.source / MODEL), "int8", "fp32"))
    assert len(names) > 1
    found, warnings = calibrated(road, cache_of(tmp_path, {name: 3.0 + place for place, name in enumerate(names)}))
    for method in ("minmax", "mse"):
        thresholds = [found.threshold(name, method) for name in names]  # type: ignore[arg-type]
        np.testing.assert_allclose(thresholds, [3.0 + place for place in range(len(names))], rtol=1e-6)
    assert not any("calib.cache" in warning for warning in warnings)


def test_what_the_cache_lacks_is_measured_and_told(road: Road, tmp_path: Path) -> None:
    first, *others = observed(prepare(ir.load(road.source / MODEL), "int8", "fp32"))
    found, warnings = calibrated(road, cache_of(tmp_path, {first: 7.0, "gone": 1.0}))
    assert found.threshold(first, "mse") == pytest.approx(7.0)
    assert found.threshold(others[0], "minmax") == pytest.approx(found.peaks[others[0]])
    assert any(
        f"ranges of 1 of the {1 + len(others)} tensors" in warning and others[0] in warning for warning in warnings
    )


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (b"hello\n", {}, "no calibration cache of TensorRT: line 1"),
        (None, {}, "can't be read"),
        (b"x: 3f800000\n", {"qat": True}, "qat trains ranges of its own"),
        (b"x: 3f800000\n", {"equalize": True}, "equalize changes the ranges"),
    ],
)
def test_what_can_not_be_taken_over_is_refused_before_the_build(
    tmp_path: Path, content: bytes | None, options: dict[str, bool], reason: str
) -> None:
    path = tmp_path / "calib.cache"
    if content is not None:
        path.write_bytes(content)
    recipe = Recipe(model="lenet", precision="int8", ranges=path, **options)  # type: ignore[arg-type]
    draft = Draft.__new__(Draft)  # nothing of it is looked at before
    with pytest.raises(UserError, match=reason):
        next(Calibrate().plan(recipe, draft))
