"""TensorRT's calibration caches."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.compat.migrations.calibration_cache import parse

NAMES = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1).filter(
    lambda name: not name.startswith("TRT-")
)
SCALES = st.floats(0, 1e6, width=32)


@given(st.dictionaries(NAMES, SCALES, min_size=1))
def test_scales_are_read_as_they_were_written(scales: dict[str, float]) -> None:
    lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items()]
    cache = parse("\n".join(["TRT-8601-EntropyCalibration2", *lines, ""]).encode())
    assert cache.scales == scales
    assert (cache.release, cache.method) == ("8601", "entropy")
    assert cache.thresholds() == {name: 127 * scale for name, scale in scales.items()}


@pytest.mark.parametrize(
    ("way", "method"),
    [("MinMaxCalibration", "minmax"), ("LegacyCalibration", "percentile"), ("NewCalibration", "")],
)
def test_the_way_is_that_of_a_recipe(way: str, method: str) -> None:
    assert parse(f"TRT-7103-{way}\nx: 3c010a14\n".encode()).method == method


@pytest.mark.parametrize(
    ("header", "version"), [("TRT-8601-X", "8.6.1"), ("TRT-7103-X", "7.1.3"), ("TRT-100300-X", "10.3.0"), ("", "")]
)
def test_the_release_is_told_as_it_is_called(header: str, version: str) -> None:
    assert parse(f"{header}\nx: 3c010a14\n".encode()).version == version


def test_names_with_colons_and_spaces() -> None:
    cache = parse(b"(Unnamed Layer* 0) [Convolution]_output: 3f800000\nin:0: 3f800000\n")
    assert cache.scales.keys() == {"(Unnamed Layer* 0) [Convolution]_output", "in:0"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no line of a tensor"),
        (b"TRT-8601-EntropyCalibration2\n", "no line of a tensor"),
        (b"x: 3f800000\nhello world\n", "line 2 is neither"),
        (b"x: 7f800000\n", "line 1: 7f800000 is the scale inf"),
        (b"x: bf800000\n", "the scale -1.0"),
        (b"\xff\xfe\x00", "it is no text"),
    ],
)
def test_what_is_no_cache_is_told_with_its_line(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(data)
