"""What the activations of a graph are like: measured in passes over the data, in the memory of one sample."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from enginesmith.compat.saving import save
from enginesmith.compat.values import static_shape
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.recipe import Method
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.precision.int8.options import METHODS
from enginesmith.converters.precision.int8.placement import candidates
from enginesmith.converters.precision.int8.thresholds import LARGEST, Counts, threshold
from enginesmith.converters.precision.int8.weights import factors
from enginesmith.converters.precision.ranges import measure_ranges

BINS = 2048
"""Of each histogram, as TensorRT's own calibrator had."""
FETCHED = 1 << 28
"""Bytes of activations that one run may return; where a sample has more, the model runs again for the rest."""
ROUNDED = 64
"""Samples of the third pass."""
JSON, ARRAYS = "calibration.json", "calibration.npz"

Feeds = Callable[[], Iterable[Mapping[str, Any]]]
"""Starts a pass over the data: input names to arrays, a sample at a time."""
Told = Callable[[str, "float | None"], None]
"""Takes what is being done and the fraction of it, as `Context.progress` does."""


@dataclass
class Calibration:
    """Statistics by value name."""

    peaks: dict[str, float]
    """The largest magnitude of every float32 tensor that a sample reached."""
    histograms: dict[str, Counts]
    """Of magnitudes: BINS bins over [0, peak], for the tensors that were asked for."""
    negative: dict[str, bool]
    """Has the tensor negative elements?"""
    means: dict[str, NDArray[np.float64]]
    """The mean of each input channel, for inputs of products."""
    rounded: dict[str, NDArray[np.float64]]
    """The same of at most ROUNDED samples, and below it of what they are in int8: a row for each of METHODS."""
    samples: int
    fixed: dict[str, float] = field(default_factory=dict)
    """Thresholds that stand whatever the method: the weights were trained with them, or a calibration cache has them."""
    _thresholds: dict[tuple[str, str], float] = field(default_factory=dict, repr=False)

    def threshold(self, name: str, method: Method) -> float:
        """The magnitude that int8's largest number stands for; 0 for a tensor of zeros. KeyError where none is known."""
        if name in self.fixed:
            return self.fixed[name]
        if (name, method) not in self._thresholds:
            self._thresholds[name, method] = threshold(self.histograms[name], self.peaks[name], method)
        return self._thresholds[name, method]

    def mean_error(self, name: str, method: Method) -> NDArray[np.float64] | None:
        """By how much rounding and clipping raise the mean of each channel; None where that was not measured."""
        if name not in self.rounded or name in self.fixed:
            return None
        exact, *rounded = self.rounded[name]
        return np.asarray(rounded[METHODS.index(method)] - exact)

    def save(self, folder: Path) -> None:
        """Write `calibration.json` and `calibration.npz`."""
        names, channels = sorted(self.histograms), sorted(self.means)
        # JSON has no infinity: peaks outside the observed tensors may be infinite
        peaks = {name: peak if math.isfinite(peak) else str(peak) for name, peak in self.peaks.items()}
        text = {
            "samples": self.samples,
            "peaks": peaks,
            "histograms": names,
            "negative": self.negative,
            "means": channels,
            "rounded": sorted(self.rounded),
            "fixed": self.fixed,
        }
        (folder / JSON).write_text(json.dumps(text, indent=1, sort_keys=True))
        arrays: dict[str, NDArray[Any]] = {
            f"histogram{index}": self.histograms[name] for index, name in enumerate(names)
        }
        arrays |= {f"mean{index}": self.means[name] for index, name in enumerate(channels)}
        arrays |= {f"rounded{index}": self.rounded[name] for index, name in enumerate(sorted(self.rounded))}
        np.savez_compressed(folder / ARRAYS, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        text = json.loads((folder / JSON).read_text())
        with np.load(folder / ARRAYS) as arrays:
            histograms = {name: arrays[f"histogram{index}"] for index, name in enumerate(text["histograms"])}
            means = {name: arrays[f"mean{index}"] for index, name in enumerate(text["means"])}
            rounded = {name: arrays[f"rounded{index}"] for index, name in enumerate(text["rounded"])}
        peaks = {name: float(peak) for name, peak in text["peaks"].items()}
        return cls(peaks, histograms, text["negative"], means, rounded, text["samples"], text["fixed"])


def calibrate(
    model: ir.Model, feeds: Feeds, folder: Path, names: Collection[str], progress: Told = lambda text, fraction: None
) -> Calibration:
    """Measure a prepared model: the peaks of all tensors, the histograms of those in `names`.

    `feeds` is called once for each of the three passes and must give the same samples every time. `folder` holds the
    instrumented graphs. Raises UserError where there is no sample, ConversionError where a tensor in `names` is not
    finite.
    """
    count = 0

    def counted(text: str, total: int | None) -> Iterator[Mapping[str, Any]]:
        nonlocal count
        count = 0
        for feed in feeds():
            yield feed
            count += 1
            progress(f"{text}, sample {count}", count / total if total else None)

    peaks = measure_ranges(model, counted("measuring ranges", None), folder)
    if not count:
        raise UserError("there is no sample to calibrate with: give some")
    for name in names:
        if not math.isfinite(peaks.get(name, 0)):
            raise ConversionError(
                f"{name} has elements that are {'infinite' if math.isinf(peaks[name]) else 'NaN'} in the float32 graph, "
                "so that it has no scale in int8",
                "look for the sample that causes it, or keep the node that reads it in higher precision",
            )
    recorder = _Recorder(model, [name for name in names if name in peaks], peaks, folder)
    for feed in counted("measuring distributions", count):
        recorder.add(feed)
    found = Calibration(peaks, recorder.histograms, recorder.negative, recorder.means(), {}, count)
    for feed in islice(counted("measuring errors", min(count, ROUNDED)), ROUNDED):
        recorder.add_rounded(feed, found)
    return replace(found, rounded=recorder.rounded_means())


class _Recorder:
    """Histograms and means of the tensors `names`, filled sample by sample."""

    def __init__(self, model: ir.Model, names: list[str], peaks: Mapping[str, float], folder: Path) -> None:
        self.peaks = peaks
        self.histograms = {name: np.zeros(BINS, np.int64) for name in names}
        self.negative = dict.fromkeys(names, False)
        self.axes = _channel_axes(model)
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.counts: dict[str, int] = {}
        self.rounded: dict[str, tuple[NDArray[np.float64], int]] = {}
        graph = model.graph.clone()
        inputs = {value.name for value in graph.inputs}
        self.inputs = [name for name in names if name in inputs]
        values = {v.name: v for node in graph for v in node.outputs if v.name in self.histograms}
        present = set(graph.outputs)
        graph.outputs.extend(value for value in values.values() if value not in present)
        self.chunks = list(_chunks(values))
        path = folder / "distributions.onnx"
        save(ir.Model(graph, ir_version=model.ir_version), path)
        self.session = onnxruntime.session(path, optimize=False)

    def add(self, feed: Mapping[str, Any]) -> None:
        for name, array in self._tensors(feed):
            self._add(name, array)

    def add_rounded(self, feed: Mapping[str, Any], found: Calibration) -> None:
        """Sum up what becomes of the tensors in int8, by each method."""
        for name, array in self._tensors(feed):
            if name not in self.sums or not array.size:
                continue
            axis = self.axes[name] % array.ndim
            others = tuple(index for index in range(array.ndim) if index != axis)
            rows = [array.sum(axis=others, dtype=np.float64)]
            for method in METHODS:
                scale = np.float32(found.threshold(name, method) / LARGEST)
                steps = array / scale if scale else np.zeros_like(array)
                np.rint(steps, out=steps)
                np.clip(steps, -LARGEST, LARGEST, out=steps)
                rows.append(steps.sum(axis=others, dtype=np.float64) * scale)
            total, count = self.rounded.get(name, (np.zeros_like(rows), 0))
            self.rounded[name] = total + rows, count + array.size // array.shape[axis]

    def _tensors(self, feed: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
        for name in self.inputs:
            yield name, np.asarray(feed[name])
        for chunk in self.chunks:
            yield from zip(chunk, self.session.run(chunk, dict(feed)), strict=True)

    def _add(self, name: str, array: NDArray[Any]) -> None:
        flat = array.reshape(-1)
        peak = self.peaks[name]
        bins = np.abs(flat) * np.float32(BINS / peak if peak else 0)
        self.histograms[name] += np.bincount(np.minimum(bins.astype(np.int32), BINS - 1), minlength=BINS)
        self.negative[name] |= bool(flat.size and flat.min() < 0)
        if name in self.axes and array.size:
            axis = self.axes[name] % array.ndim
            others = tuple(index for index in range(array.ndim) if index != axis)
            total = array.sum(axis=others, dtype=np.float64)
            self.sums[name] = self.sums.get(name, np.zeros_like(total)) + total
            self.counts[name] = self.counts.get(name, 0) + array.size // array.shape[axis]

    def means(self) -> dict[str, NDArray[np.float64]]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def rounded_means(self) -> dict[str, NDArray[np.float64]]:
        return {name: total / count for name, (total, count) in self.rounded.items()}


def _channel_axes(model: ir.Model) -> dict[str, int]:
    """The axis of the channels of each tensor that a product multiplies with weights."""
    axes: dict[str, int] = {}
    for node, reason in candidates(model).items():
        found = factors(node)
        if not reason and found is not None:
            name = node.inputs[found.data].name  # type: ignore[union-attr]
            axes.setdefault(name or "", found.channels)
    return axes


def _chunks(values: Mapping[str, ir.Value]) -> Iterator[list[str]]:
    """The names in groups of at most FETCHED bytes; a tensor of unknown size is taken for a quarter of that."""
    chunk: list[str] = []
    held = 0
    for name, value in values.items():
        sizes = static_shape(value)
        size = FETCHED // 4 if sizes is None else 4 * math.prod(sizes)
        if chunk and held + size > FETCHED:
            yield chunk
            chunk, held = [], 0
        chunk.append(name)
        held += size
    if chunk:
        yield chunk
