"""From a histogram of magnitudes to the largest magnitude that int8 represents. What lies above it is clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from enginesmith.converters.core.recipe import Method

Counts: TypeAlias = "NDArray[np.int64]"
Doubles: TypeAlias = "NDArray[np.floating]"

LEVELS = 128
"""Magnitudes that int8 has: 0 to 127."""
LARGEST = LEVELS - 1
PERCENTILE = 99.99
"""Percent of the elements that are not clipped."""
STEPS = 256
"""Thresholds that a search compares, evenly spaced up to the peak."""


def threshold(counts: Counts, peak: float, method: Method) -> float:
    """`counts` are of equally wide bins over [0, peak]. The result is in (0, peak]; 0 where `peak` is."""
    chosen = _SEARCHES[method]
    if peak == 0 or not counts.any():
        return peak
    return min(chosen(counts) * peak / counts.size, peak)


def _minmax(counts: Counts) -> float:
    return float(counts.size)


def _percentile(counts: Counts) -> float:
    share = np.cumsum(counts) / counts.sum()
    return float(np.searchsorted(share, PERCENTILE / 100) + 1)


def _mse(counts: Counts) -> float:
    """The least mean square of rounding and clipping, each bin at its middle."""
    middles = np.arange(counts.size) + 0.5
    return min(_candidates(counts), key=lambda limit: _squared_error(counts, middles, limit))


def _squared_error(counts: Counts, middles: Doubles, limit: float) -> float:
    scale = limit / LARGEST
    rounded = np.minimum(np.round(middles / scale), LARGEST) * scale
    return float(((middles - rounded) ** 2 * counts).sum())


def _entropy(counts: Counts) -> float:
    """The least Kullback-Leibler divergence between the clipped distribution and its rounding to LEVELS.

    Migacz, 8-bit inference with TensorRT, GTC 2017. The first bin is left out, since zeros are exact in any scale and a
    ReLU makes so many of them that nothing else would count.
    """
    seen = counts.astype(np.float64)
    seen[0] = 0
    if not seen.any():
        return float(counts.size)
    return min(_candidates(counts), key=lambda limit: _divergence(seen, int(limit)))


def _divergence(counts: Doubles, limit: int) -> float:
    """Of the first `limit` bins, the last of them with all that is clipped to it."""
    kept = counts[:limit]
    clipped = kept.copy()
    clipped[-1] += counts[limit:].sum()
    starts = np.arange(LEVELS) * limit // LEVELS
    filled = (kept > 0).astype(np.float64)
    sums, sizes = np.add.reduceat(kept, starts), np.add.reduceat(filled, starts)
    means = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
    rounded = np.repeat(means, np.diff(np.append(starts, limit))) * filled
    if not rounded.any():
        return np.inf
    # a bin that only clipping fills has no counterpart: the smallest count stands for it
    rounded[(clipped > 0) & (rounded == 0)] = 1e-4
    p, q = clipped / clipped.sum(), rounded / rounded.sum()
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())


def _candidates(counts: Counts) -> list[float]:
    """Thresholds in bins: from LEVELS bins, which hold a level each, to all."""
    return [float(limit) for limit in np.unique(np.linspace(min(LEVELS, counts.size), counts.size, STEPS).astype(int))]


_SEARCHES: dict[Method, Callable[[Counts], float]] = {
    "minmax": _minmax,
    "entropy": _entropy,
    "percentile": _percentile,
    "mse": _mse,
}
