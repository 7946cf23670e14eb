"""Shapes, types, ranges and broken numbers of what is given, whatever it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import feeds, opened, samples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import DTYPES, InputSpec
from enginesmith.converters.data.datasets.arrays import cast

RNG = np.random.default_rng(0)
UNIT = RNG.random((40, 3, 32, 32), np.float32)
BYTES = RNG.integers(0, 256, UNIT.shape, np.uint8)
NORMAL = (UNIT - 0.45) / 0.22


def check(folder: Path, x: np.ndarray, shape: str = "x:1x3x32x32", **options: Any) -> list[str]:
    """The warnings."""
    np.savez(folder / "data.npz", x=x)
    return opened(folder / "data.npz", samples(shape, **options)).warnings


@pytest.mark.parametrize(
    ("pixels", "x"),
    [
        ("unit", UNIT),
        ("unit", UNIT.astype(np.float64)),
        ("unit", UNIT.round().astype(np.uint8)),
        ("unit", UNIT * 1.2 - 0.1),
        ("imagenet", NORMAL),
        ("imagenet", NORMAL.astype(np.float16)),
        ("bytes", BYTES),
        ("bytes", BYTES.astype(np.float32)),
        ("unknown", UNIT),
        ("unknown", NORMAL),
    ],
)
def test_what_a_model_takes(tmp_path: Path, pixels: Any, x: np.ndarray) -> None:
    assert check(tmp_path, x, pixels=pixels) == []


@pytest.mark.parametrize(
    ("pixels", "x", "message"),
    [
        (
            "unit",
            BYTES,
            r"row 0: input x: holds 0 to 255 where the model takes 0..1; divide by 255, or give --pixels bytes if the model takes them so",
        ),
        ("unit", BYTES.astype(np.float32), r"holds 0 to 255 where the model takes 0..1; divide by 255"),
        ("unit", (BYTES // 100), r"holds 0 to 2 where the model takes 0..1; divide by 255"),
        ("unit", NORMAL, r"where the model takes 0..1; leave the normalization out"),
        ("unit", UNIT * 2 - 1, r"leave the normalization out"),
        ("imagenet", BYTES, r"less ImageNet's mean and by its deviation; divide by 255, then subtract \(0.485"),
        ("imagenet", BYTES.astype(np.float32), r"divide by 255, then subtract"),
        ("bytes", UNIT, r"data.npz: the pictures hold .* where the model takes 0..255; multiply by 255"),
        ("bytes", NORMAL, r"leave the normalization out"),
    ],
)
def test_another_range(tmp_path: Path, pixels: Any, x: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(tmp_path, x, pixels=pixels)


def test_ranges_that_may_be_wrong(tmp_path: Path) -> None:
    (warning,) = check(tmp_path, UNIT, pixels="imagenet")
    assert "; normalize them if the model was trained so, else give --pixels unit" in warning
    (warning,) = check(tmp_path, BYTES, pixels="unknown")
    assert (
        "hold 0 to 255; divide by 255 if the model takes 0..1, as its samples are, else give --pixels bytes" in warning
    )


def test_the_range_of_other_inputs_is_no_matter(tmp_path: Path) -> None:
    assert check(tmp_path, np.full((40, 7), 200, np.uint8), "x:1x7", pixels="unit") == []


@pytest.mark.parametrize(
    ("x", "shape", "message"),
    [
        (
            np.zeros((9, 32, 32, 3), np.uint8),
            "1x3x32x32",
            r"got uint8 \[32, 32, 3\], wanted float32 \[N,3,32,32\]; the channels come last, transpose\(2, 0, 1\)",
        ),
        (np.zeros((9, 1, 32, 32, 3)), "1x3x32x32", r"the channels come last, transpose\(0, 3, 1, 2\)"),
        (np.zeros((9, 64, 64, 3)), "1x3x32x32", r"channels come last, transpose\(2, 0, 1\) and resize to 32x32"),
        (np.zeros((9, 3, 64, 64)), "1x3x32x32", r"\[3, 64, 64\], .*; resize to 32x32, or give SHAPE"),
        (np.zeros((9, 1, 32, 32)), "1x3x32x32", r"; give 3 channels"),
        (np.zeros((9, 3, 32, 32)), "1x1x32x32", r"; give 1 channel$"),
        (np.zeros((9, 32)), "1x3x32x32", r"got float64 \[32\], wanted .*; give 4 dimensions, or 3 for a single row"),
        (np.zeros((9, 5)), "1x7", r"got float64 \[5\], wanted float32 \[N,7\]; give SHAPE if the model takes it"),
        (np.zeros((9, 5)), "scalar", r"wanted float32 \[\]; give a scalar"),
        (np.zeros((9, 5)), "1x6..8..9", r"wanted float32 \[N,6..9\]"),
        (np.zeros((9, 5)), "4", r"wanted float32 \[4\]"),
    ],
)
def test_another_shape(tmp_path: Path, x: np.ndarray, shape: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(tmp_path, x, f"x:{shape}")


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_broken_numbers_are_found_before_anything_runs(tmp_path: Path, value: float, what: str) -> None:
    x = UNIT.copy()
    x[33, 1, 2:4, 3] = value
    with pytest.raises(
        UserError, match=f"data.npz, row 33: input x has {what} in 2 of 3072 places; leave the example out"
    ):
        check(tmp_path, x)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (np.float64(1e300), "float32", r"float32 and can't hold the float64 value 1e\+300; give it as float32"),
        (np.float32(1e6), "float16", "float16 and can't hold the float32 value 1000000.0"),
        (np.int64(2**24 + 1), "float32", "float32 and can't hold the int64 value 16777217"),
        (np.float32(0.5), "int64", "int64 and can't hold the float32 value 0.5"),
        (np.int64(2**40), "int32", "int32 and can't hold the int64 value 1099511627776"),
        (np.int64(-1), "uint8", "uint8 and can't hold the int64 value -1"),
        (np.uint8(200), "int8", "int8 and can't hold the uint8 value 200"),
        (np.int8(-1), "uint64", "uint64 and can't hold the int8 value -1"),
        (np.int64(2), "bool", "bool and can't hold the int64 value 2"),
    ],
)
def test_values_that_would_be_lost(tmp_path: Path, value: Any, dtype: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(tmp_path, np.full((9, 4), value), f"x:1x4:{dtype}")


NUMBERS = st.sampled_from([np.dtype(name) for name in DTYPES]).flatmap(
    lambda dtype: arrays.arrays(
        dtype,
        (3,),
        elements=arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False),
    )
)


@settings(max_examples=500)
@given(NUMBERS, st.sampled_from(DTYPES))
@example(np.array([-(2**63), 0, 0]), "float16")
@example(np.array([2**64 - 1, 0, 0], np.uint64), "float32")
@example(np.array([2.0**64, 0, 0]), "uint64")
@example(np.array([2.0**63, 0, 0]), "int64")
def test_a_cast_keeps_every_value_or_refuses(array: np.ndarray, dtype: str) -> None:
    """Held against Python's own numbers, which are exact."""
    spec = InputSpec.static("x", (3,), dtype)
    wanted = np.dtype(dtype)
    exact = [value.item() for value in array]
    try:
        made = cast(array, spec, "here")
    except UserError:
        if wanted.kind == "f" and array.dtype.kind == "f":
            assert any(abs(value) > float(np.finfo(wanted).max) for value in exact)
        elif wanted.kind == "f":
            with np.errstate(over="ignore"):
                assert any(int(value) != _whole(wanted.type(value)) for value in exact)
        elif wanted.kind == "b":
            assert any(value not in (0, 1) for value in exact)
        else:
            bounds = np.iinfo(wanted)
            assert any(value != int(value) or not bounds.min <= value <= bounds.max for value in exact)
        return
    assert made.dtype == wanted
    if wanted.kind == "f" and array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            assert made.tolist() == [wanted.type(value).item() for value in array]
    else:
        assert [value.item() for value in made] == exact


def _whole(value: Any) -> Any:
    return int(value) if np.isfinite(value) else None


def test_feeds_are_what_onnx_runtime_takes(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=UNIT.transpose(0, 1, 3, 2).astype(np.float64))
    for feed in feeds(opened(tmp_path / "data.npz")):
        assert feed["x"].dtype == np.float32
        assert feed["x"].shape == (1, 3, 32, 32)


def test_too_few_to_calibrate_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=UNIT[:7])
    with pytest.raises(
        UserError, match=r"data\.npz: 7 examples are too few to calibrate on; give 8 at least, better 100"
    ):
        opened(tmp_path / "data.npz", role="calibration")
    assert len(opened(tmp_path / "data.npz")) == 7
    np.savez(tmp_path / "data.npz", x=UNIT[:8])
    (warning,) = opened(tmp_path / "data.npz", role="calibration").warnings
    assert "8 examples are few: ranges measured on so few fit others badly" in warning
