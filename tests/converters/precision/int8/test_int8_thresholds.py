"""Thresholds from histograms, held against the samples that the histograms were made of, and ONNX Runtime's search."""

from __future__ import annotations

import numpy as np
import pytest

from enginesmith.converters.precision.int8.thresholds import PERCENTILE, threshold

BINS = 2048
SHAPES = {
    "normal": lambda rng: rng.standard_normal(40_000),
    "heavy tails": lambda rng: rng.standard_t(3, 40_000),
    "ReLU": lambda rng: np.maximum(rng.standard_normal(40_000), 0),
    "uniform": lambda rng: rng.random(40_000),
    "one outlier": lambda rng: np.append(rng.standard_normal(40_000), 100),
}


@pytest.fixture(params=SHAPES)
def samples(request):
    return SHAPES[request.param](np.random.default_rng(0)).astype(np.float32)


def counted(samples):
    peak = float(np.abs(samples).max())
    return np.histogram(np.abs(samples), BINS, (0, peak))[0].astype(np.int64), peak


def squared_error(samples, limit):
    scale = limit / 127
    return float(((np.clip(np.round(samples / scale), -127, 127) * scale - samples) ** 2).mean())


def test_minmax_clips_nothing(samples):
    counts, peak = counted(samples)
    assert threshold(counts, peak, "minmax") == peak


def test_percentile_clips_the_share_that_it_says(samples):
    counts, peak = counted(samples)
    found = threshold(counts, peak, "percentile")
    assert found == pytest.approx(np.percentile(np.abs(samples), PERCENTILE), abs=2 * peak / BINS)
    assert (np.abs(samples) > found).mean() <= 1 - PERCENTILE / 100


def test_mse_is_the_least_that_any_threshold_has(samples):
    counts, peak = counted(samples)
    found = threshold(counts, peak, "mse")
    best = min(squared_error(samples, limit) for limit in np.linspace(peak / 16, peak, 500))
    assert squared_error(samples, found) <= best * 1.02


def test_entropy_agrees_with_onnx_runtimes_search():
    """Which takes minutes for 2048 bins: they are few here. It counts zeros, so that there are none; and it keeps one bin
    more on the right.
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    rng = np.random.default_rng(0)
    for samples in (rng.standard_normal(20_000), rng.standard_t(4, 20_000), rng.laplace(size=20_000)):
        peak = float(np.abs(samples).max())
        fine = np.histogram(np.abs(samples), 256, (0, peak))[0].astype(np.int64)
        collector = HistogramCollector("entropy", True, 512, 128, 99.99, "same")
        mirrored = np.histogram(np.append(samples, -samples), 512, (-peak, peak))
        theirs = collector.get_entropy_threshold((*mirrored, np.float64(-peak), np.float64(peak)), 128)[1]
        assert threshold(fine, peak, "entropy") == pytest.approx(float(theirs), rel=0.35)


def test_entropy_cuts_an_outlier_and_leaves_a_uniform_range():
    rng = np.random.default_rng(0)
    counts, peak = counted(np.append(rng.standard_normal(40_000), 30))
    assert threshold(counts, peak, "entropy") < 10
    counts, peak = counted(rng.random(40_000))
    assert threshold(counts, peak, "entropy") > 0.9


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
def test_degenerate_histograms(method):
    zeros = np.zeros(BINS, np.int64)
    assert threshold(zeros, 0.0, method) == 0
    zeros[0] = 10
    assert threshold(zeros, 0.0, method) == 0, "a tensor of zeros"
    single = np.zeros(BINS, np.int64)
    single[-1] = 1
    assert threshold(single, 3.0, method) == 3.0, "a tensor of one number"
    most = single.copy()
    most[0] = 1000
    assert 0 < threshold(most, 3.0, method) <= 3.0
