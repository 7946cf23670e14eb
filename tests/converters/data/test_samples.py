"""The inputs of comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from enginesmith.converters.core.inputs import DTYPES, InputSpec
from enginesmith.converters.core.samples import SampleSet, load_results, save_results
from enginesmith.converters.data import pictures
from enginesmith.converters.data.picture_inputs import IMAGENET_MEAN, IMAGENET_STD
from enginesmith.converters.data.samples import finite, make_samples
from enginesmith.pipeline.job.shapes import parse_shapes


def make_all(shape: str, count: int = 3, seed: int = 0, **options: Any):
    return make_samples(parse_shapes(shape), "tensor", count, seed, **options)


def make(shape: str, count: int = 3, seed: int = 0, **options: Any):
    """Without the probes."""
    samples, feeds = make_all(shape, count, seed, **options)
    ordinary = samples.ordinary()
    kept = samples.model_copy(update={"samples": [samples.samples[index] for index in ordinary]})
    return kept, [feeds[index] for index in ordinary]


def test_pictures_then_one_random_then_the_first_again() -> None:
    samples, feeds = make("x:1x3x32x48", 4)
    first, second, third = pictures.names()[:3]
    assert [sample.name for sample in samples.samples] == [first, second, third, "random 3", f"{first} again"]
    assert [sample.picture for sample in samples.samples] == [first, second, third, "", first]
    expected = pictures.load(first, 32, 48).astype(np.float32).transpose(2, 0, 1)[None] / 255
    np.testing.assert_allclose(feeds[0]["x"], expected, atol=1e-6)
    assert feeds[-1]["x"] is feeds[0]["x"]
    assert all(feed["x"].dtype == np.float32 and feed["x"].flags.c_contiguous for feed in feeds)


def test_one_sample_is_a_picture() -> None:
    samples, _ = make("x:1x3x32x32", 1)
    assert [sample.picture for sample in samples.samples] == [pictures.names()[0]] * 2


def test_more_samples_than_pictures() -> None:
    samples, feeds = make("x:1x3x16x16", 12)
    assert [sample.picture for sample in samples.samples[:8]] == [*pictures.names()]
    assert len({sample.name for sample in samples.samples}) == 13
    assert len({feed["x"].tobytes() for feed in feeds}) == 12, "all differ, but for the repeated one"


@pytest.mark.parametrize(
    "shape",
    [
        "x:1x64",
        "x:1x4x32x32",
        "x:1x3x8x32",
        "x:1x3x32x32:int64",
        "x:1x256x32x3",
        "x:1x8x8x3:uint8",
        "x:1x3x4x32x32",
        "x:1x1..3..3x32x32",
        "x:scalar",
    ],
)
def test_no_pictures(shape: str) -> None:
    samples, feeds = make(shape)
    assert not any(sample.picture for sample in samples.samples)
    assert all(feed["x"].shape == tuple(samples.specs[0].opt) for feed in feeds if len(feeds) == 4)


def test_normalized_pictures() -> None:
    _, (plain, *_) = make("x:2x3x16x16", 1)
    _, (normalized, *_) = make("x:2x3x16x16", 1, pixels="imagenet")
    mean, deviation = (np.array(values).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    np.testing.assert_allclose(normalized["x"] * deviation + mean, plain["x"], atol=1e-5)


def test_grey_pictures() -> None:
    _, (grey, *_) = make("x:1x1x28x28", 1)
    _, (colour, *_) = make("x:1x3x28x28", 1)
    np.testing.assert_allclose(grey["x"], colour["x"].mean(axis=1, keepdims=True), atol=1e-6)


def test_a_batch_holds_different_pictures() -> None:
    _, feeds = make("x:10x3x16x16", 2)
    assert len({picture.tobytes() for picture in feeds[0]["x"]}) == 8, "all there are, then from the front again"
    assert not np.array_equal(feeds[0]["x"][0], feeds[1]["x"][0])


def test_dynamic_sizes() -> None:
    samples, feeds = make("x:1..2..8x3x32..64..96x64", 2)
    names = [sample.name for sample in samples.samples]
    assert names == [
        pictures.names()[0],
        "random 1",
        "min size",
        "max size",
        "unseen size",
        f"{pictures.names()[0]} again",
    ]
    assert [feed["x"].shape for feed in feeds] == [
        (2, 3, 64, 64),
        (2, 3, 64, 64),
        (1, 3, 32, 64),
        (8, 3, 96, 64),
        (3, 3, 61, 64),
        (2, 3, 64, 64),
    ]
    assert [sample.optimum for sample in samples.samples] == [True, True, False, False, False, True]


def test_listed_shapes_each_have_a_sample() -> None:
    specs = (InputSpec.several("x", [(1, 3, 32, 32), (2, 3, 64, 48)]), InputSpec.static("y", (4,)))
    samples, feeds = make_samples(specs, "tensor", 2, 0)
    assert [feed["x"].shape for feed in feeds][:4] == [(1, 3, 32, 32)] * 2 + [(2, 3, 64, 48), (1, 3, 32, 32)]
    assert [sample.listed for sample in samples.samples][:4] == [False, False, True, False]
    assert {feed["x"].shape for feed in feeds[4:]} == {(1, 3, 32, 32)}, "probes have the optimum shape"
    assert samples.samples[2].name == "x:2x3x64x48 y:4"


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype: str) -> None:
    _, feeds = make(f"x:4x50:{dtype}", 2)
    values = feeds[0]["x"]
    assert values.dtype == np.dtype(dtype)
    assert values.std() > 0
    if dtype.startswith("float"):
        assert 0 <= values.min() < 0.1 < 0.9 < values.max() <= 1
    else:
        assert set(np.unique(values).tolist()) == ({False, True} if dtype == "bool" else {*range(10)})


def test_half_precision_pictures() -> None:
    _, feeds = make("x:1x3x32x32:float16", 1)
    assert feeds[0]["x"].dtype == np.float16


def test_seed() -> None:
    shape = "x:1x3x32x32 ids:1x8:int64 y:2x2"
    first, again, other = (make(shape, 3, seed)[1] for seed in (0, 0, 1))
    for name in ("x", "ids", "y"):
        assert all(np.array_equal(a[name], b[name]) for a, b in zip(first, again, strict=True))
        assert not np.array_equal(first[2][name], other[2][name])
    assert not np.array_equal(first[0]["y"], first[1]["y"])


def test_inputs_keep_their_order() -> None:
    _, feeds = make("b:2 a:3 c:4", 1)
    assert [*feeds[0]] == ["b", "a", "c"]


def test_save_and_load(tmp_path: Path) -> None:
    samples, feeds = make("x:1..2..3x3x16x16 flag:2:bool n:scalar:int64 h:2:float16", 2)
    samples.save(tmp_path, feeds)
    loaded, arrays = SampleSet.load(tmp_path)
    assert loaded == samples
    for before, after in zip(feeds, arrays, strict=True):
        assert [*before] == [*after]
        for name, array in before.items():
            assert after[name].dtype == array.dtype
            assert after[name].shape == array.shape
            np.testing.assert_array_equal(after[name], array)


def test_results_are_polygraphys(tmp_path: Path) -> None:
    outputs = [{"y": np.array([[1.5, np.nan]], np.float32), "n": np.zeros((0, 4), np.int64)} for _ in range(2)]
    save_results(tmp_path, "numpy", outputs)
    ((name, results),) = load_results(tmp_path)
    assert name == "numpy"
    assert len(results) == 2
    for result in results:
        assert [*result] == ["y", "n"]
        np.testing.assert_array_equal(result["y"], outputs[0]["y"])
        assert result["n"].shape == (0, 4)
        assert result["n"].dtype == np.int64


def test_probes_of_what_quantizes_are_finite() -> None:
    made, feeds = make_samples(parse_shapes("x:4x8"), "tensor", 2, 0)
    assert any(not np.isfinite(feed["x"]).all() for feed in feeds)
    kept, held = finite(made, feeds)
    assert len(kept.samples) == len(held) < len(feeds)
    assert all(np.isfinite(feed["x"]).all() for feed in held)
    assert kept.ordinary() == made.ordinary()
    _, held = finite(made, feeds, keep_infinite=True)
    assert any(np.isinf(feed["x"]).any() for feed in held)
    assert not any(np.isnan(feed["x"]).any() for feed in held)
