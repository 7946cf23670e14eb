"""Ranges and histograms: what is measured, in how much memory, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from graphs import normal, run
from int8_graphs import calibrated, prepared

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.precision.int8 import calibration as module
from enginesmith.converters.precision.int8.calibration import Calibration, calibrate
from enginesmith.converters.precision.int8.options import METHODS

NET = """
net (float[1,4,8,8] x) => (float[1,6] y)
{ c = Conv <pads = [1, 1, 1, 1]> (x, w)  r = Relu (c)  m = GlobalAveragePool (r)  f = Flatten (m)  y = MatMul (f, v) }
"""
FEEDS = [{"x": normal(1, 4, 8, 8, scale=1 + seed, seed=seed)} for seed in range(3)]


@pytest.fixture
def net():
    return prepared(NET, w=normal(4, 4, 3, 3), v=normal(4, 6))


def test_it_measures_what_numpy_does(net):
    found = calibrated(net, FEEDS, ["x", "c", "f"])
    assert found.samples == 3
    assert set(found.peaks) == {"x", "c", "r", "m", "f", "y"}
    assert set(found.histograms) == {"x", "c", "f"}
    tensors = {"x": np.concatenate([feed["x"] for feed in FEEDS])}
    tapped = prepared(NET.replace("float[1,6] y)", "float[1,6] y, float[1,4,8,8] c, float[1,4] f)"),
                      w=normal(4, 4, 3, 3), v=normal(4, 6))  # fmt: skip
    for name, arrays in zip(("y", "c", "f"), zip(*(run(tapped, feed) for feed in FEEDS), strict=True), strict=True):
        tensors[name] = np.concatenate(arrays)
    for name, histogram in found.histograms.items():
        magnitudes = np.abs(tensors[name])
        assert found.peaks[name] == magnitudes.max()
        assert histogram.sum() == magnitudes.size
        expected = np.histogram(magnitudes, module.BINS, (0, float(magnitudes.max())))[0]
        assert np.abs(histogram - expected).sum() <= 4, "an element on an edge may fall to either side"
        assert found.negative[name] == bool((tensors[name] < 0).any())
    assert np.allclose(found.means["x"], tensors["x"].mean(axis=(0, 2, 3)), atol=1e-6)
    assert np.allclose(found.means["f"], tensors["f"].mean(axis=0), atol=1e-6)


def test_tensors_are_fetched_in_portions(net, monkeypatch):
    whole = calibrated(net, FEEDS)
    monkeypatch.setattr(module, "FETCHED", 1)
    parts = calibrated(net, FEEDS)
    assert whole.histograms.keys() == parts.histograms.keys()
    assert all((parts.histograms[name] == whole.histograms[name]).all() for name in whole.histograms)


def test_it_is_saved_and_loaded(net, tmp_path):
    found = calibrated(net, FEEDS)
    found.peaks |= {"endless": np.inf, "nothing": np.nan}
    found.fixed["x"] = 0.5
    found.save(tmp_path)
    loaded = Calibration.load(tmp_path)
    assert np.isinf(loaded.peaks.pop("endless"))
    assert np.isnan(loaded.peaks.pop("nothing"))
    assert loaded.peaks == {name: peak for name, peak in found.peaks.items() if np.isfinite(peak)}
    assert (loaded.samples, loaded.negative, loaded.fixed) == (found.samples, found.negative, found.fixed)
    for name in found.histograms:
        assert (loaded.histograms[name] == found.histograms[name]).all()
        for method in METHODS:
            assert loaded.threshold(name, method) == found.threshold(name, method)
    assert loaded.threshold("x", "mse") == 0.5, "as it was trained"
    assert all((loaded.means[name] == found.means[name]).all() for name in found.means)
    assert found.rounded.keys() == found.means.keys() == loaded.rounded.keys()
    assert all((loaded.rounded[name] == found.rounded[name]).all() for name in found.rounded)


@pytest.mark.parametrize(("value", "told"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_what_is_not_finite_is_refused(net, tmp_path, value, told):
    feeds = [*FEEDS, {"x": np.full((1, 4, 8, 8), value, np.float32)}]
    with pytest.raises(ConversionError, match=f"x has elements that are {told} in the float32 graph"):
        calibrate(net, lambda: feeds, tmp_path, ["x", "f"])
    found = calibrate(net, lambda: feeds, tmp_path, [])
    assert not np.isfinite(found.peaks["x"]), "of what needs no scale it is only noted"


def test_without_samples_there_is_nothing_to_measure(net, tmp_path):
    with pytest.raises(UserError, match="no sample"):
        calibrate(net, list, tmp_path, ["x"])


def test_progress_is_told(net, tmp_path):
    told = []
    calibrate(net, lambda: FEEDS, tmp_path, ["x"], lambda text, fraction: told.append((text, fraction)))
    assert told[0] == ("measuring ranges, sample 1", None)
    assert ("measuring distributions, sample 3", 1.0) in told
    assert told[-1] == ("measuring errors, sample 3", 1.0)


def test_it_measures_what_int8_does_to_the_mean_of_a_channel(net, monkeypatch):
    monkeypatch.setattr(module, "ROUNDED", 2)
    found = calibrated(net, FEEDS)
    for method in METHODS:
        scale = np.float32(found.threshold("x", method) / 127)
        exact = np.concatenate([feed["x"] for feed in FEEDS[:2]])
        rounded = np.clip(np.rint(exact / scale), -127, 127) * scale
        expected = (rounded - exact).mean(axis=(0, 2, 3), dtype=np.float64)
        assert np.allclose(found.mean_error("x", method), expected, atol=1e-6)
        assert np.abs(expected).max() > 1e-4
    assert found.mean_error("y", "mse") is None
    found.fixed["x"] = 1.0
    assert found.mean_error("x", "mse") is None, "it was trained for another scale"


def test_memory_does_not_grow_with_the_samples(tmp_path):
    """Each sample makes 32 MB of activations: those of 24 would show."""
    script = textwrap.dedent("""
        import resource, sys, tempfile
        from pathlib import Path
        sys.path[:0] = sys.argv[2:]
        import numpy as np
        from graphs import normal
        from int8_graphs import prepared
        from enginesmith.converters.precision.int8.calibration import calibrate
        from enginesmith.converters.precision.int8.placement import observed

        text = '''net (float[1,8,256,256] x) => (float[1,8,256,256] y) {
            a = Conv (x, w) b = Conv (a, w) c = Conv (b, w) d = Conv (c, w) y = Conv (d, w) }'''
        net = prepared(text, w=normal(8, 8, 1, 1, scale=0.3))
        feeds = lambda: ({"x": normal(1, 8, 256, 256, seed=seed)} for seed in range(int(sys.argv[1])))
        calibrate(net, feeds, Path(tempfile.mkdtemp()), observed(net))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """)
    (tmp_path / "script.py").write_text(script)
    folders = [path for path in sys.path if path.endswith(("precision", "int8"))]

    def peak(samples: int) -> int:
        command = [sys.executable, str(tmp_path / "script.py"), str(samples), *folders]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak(24) < peak(2) + 20_000, "in kilobytes"
