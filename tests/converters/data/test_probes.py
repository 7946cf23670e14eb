"""Samples that ordinary ones don't stand for."""

from __future__ import annotations

import numpy as np
import pytest

from enginesmith.converters.core.inputs import DTYPES
from enginesmith.converters.core.samples import Feed, SampleSet
from enginesmith.converters.data.probes import mask
from enginesmith.converters.data.samples import make_samples
from enginesmith.pipeline.job.shapes import parse_shapes


def probes(shape: str, pixels: str = "unknown") -> dict[str, Feed]:
    samples, feeds = make_samples(parse_shapes(shape), "tensor", 2, 0, pixels=pixels)
    return {s.name: feed for s, feed in zip(samples.samples, feeds, strict=True) if s.probe}


@pytest.mark.parametrize("shape", ["3x7", "1", "scalar", "1x8", "1x1x16x16"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_probe_has_the_shape_and_the_dtype(dtype: str, shape: str) -> None:
    samples, feeds = make_samples(parse_shapes(f"x:{shape}:{dtype}"), "tensor", 1, 0)
    for sample, feed in zip(samples.samples, feeds, strict=True):
        assert (feed["x"].shape, feed["x"].dtype) == (feeds[0]["x"].shape, np.dtype(dtype)), sample.name
        if dtype.startswith("int"):
            assert (feed["x"] > np.iinfo(dtype).min).all(), (
                "whose negative doesn't exist, and ends a division's process"
            )


def test_floats_of_all_kinds() -> None:
    found = probes("x:4x16")
    x = {name: feed["x"] for name, feed in found.items()}
    assert x["both signs"].min() < 0 < x["both signs"].max()
    assert (np.abs(x["both signs"] % 1) == 0.5).any(), "a half, which rounds to even"
    assert np.abs(x["wide magnitudes"]).max() > 1e4
    assert np.abs(x["wide magnitudes"]).min() < 1
    assert x["wide magnitudes"].max() > 89, "exp overflows"
    assert len(np.unique(x["ties"])) == 3
    for name, least, most in (("small positive", 5, 9), ("positive up to a byte", 128, 255)):
        assert 0 <= x[name].min() < least < x[name].max() <= most
        assert (x[name] % 1 == 0.5).any(), "a half"
    assert {np.inf, -np.inf} <= {*x["infinite"].ravel()}
    assert np.isnan(x["NaN"]).any()
    for name in ("infinite", "NaN"):
        assert np.isfinite(x[name][1::2]).all(), "rows that nothing spreads into"
    assert not x["zeros"].any()
    assert not np.signbit(x["zeros"]).any()
    assert (np.diff(x["ascending"], axis=1) >= 0).all()
    assert (np.diff(x["descending"], axis=1) <= 0).all()


def test_half_precision_stays_within_its_range() -> None:
    assert np.isfinite(probes("x:4x16:float16")["wide magnitudes"]["x"]).all()


def test_integers_at_the_ends_of_32_bits_and_beyond() -> None:
    x = {name: feed["x"] for name, feed in probes("x:8x16:int64").items()}
    assert {2**31 - 1, 2**31, -(2**31) - 1} <= {*x["large integers"].ravel()}
    assert x["integers of both signs"].min() < 0
    assert np.iinfo(np.int64).max in x["largest and smallest integers"]
    assert probes("x:8x16:uint8")["largest and smallest integers"]["x"].max() == 255


def test_integers_stay_while_floats_change_and_the_other_way_round() -> None:
    samples, feeds = make_samples(parse_shapes("x:4 ids:4:int64"), "tensor", 1, 0)
    for sample, feed in zip(samples.samples, feeds, strict=True):
        assert any(feed[name] is feeds[0][name] for name in feed) or not sample.probe


def test_pictures_stay_within_their_pixels() -> None:
    found = probes("x:1x3x16x16", "unit")
    assert [*found] == ["high contrast", "checkerboard", "black", "white"]
    assert all(feed["x"].min() >= 0 and feed["x"].max() <= 1 for feed in found.values())
    assert (found["black"]["x"].max(), found["white"]["x"].min()) == (0, 1)
    assert probes("x:1x3x16x16", "bytes")["white"]["x"].min() == 255


def test_no_row_of_a_mask_is_hidden_altogether() -> None:
    rng = np.random.default_rng(0)
    for shape in ((200, 2), (50, 3, 5), (1,), (), (0, 3)):
        made = mask(shape, rng)
        assert made.shape == shape
        if shape and shape[-1] > 1:
            assert (made.any(axis=-1) & ~made.all(axis=-1)).all()
    _, feeds = make_samples(parse_shapes("x:4 attention_mask:64x2:int64 m:64x2:bool"), "tensor", 3, 0)
    for feed in feeds[:3]:
        assert (feed["attention_mask"].sum(axis=1) == 1).all()
        assert (feed["m"].sum(axis=1) == 1).all()


def test_lower_precisions_are_held_to_values_of_ordinary_size() -> None:
    samples, feeds = make_samples(parse_shapes("x:4x16"), "tensor", 2, 0)
    held = {precision: samples.held(precision) for precision in ("fp32", "fp16", "int8")}
    assert held["fp32"] == [*range(len(feeds))]
    assert held["int8"] == samples.ordinary() == [0, 1, 2]
    assert [samples.samples[index].name for index in held["fp16"]][3:] == ["both signs", "ties", "small positive"]
    assert all(np.abs(feeds[index]["x"]).max() < 100 for index in held["fp16"])
    assert SampleSet.model_validate_json(samples.model_dump_json()) == samples
