"""How well classes of pixels agree."""

from __future__ import annotations

from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import Array
from enginesmith.converters.data.metrics.base import Metric, Outputs

IGNORED = 255
"""The label of pixels that don't count, as Cityscapes, ADE20K and Pascal VOC have it."""


class MeanIoU(Metric):
    """Mean over the classes that occur of intersection over union, of all examples together, as segmentation's benchmarks have it.

    The labels are the first output of integers [N x] H x W (or N x 1 x H x W), else the best class of the first output of
    floats N x C x H x W. The truth is the data's labels, else the float32 graph's.
    """

    name = "mIoU"

    def __init__(self) -> None:
        self.both: dict[int, int] = {}
        self.either: dict[int, int] = {}

    def fresh(self) -> MeanIoU:
        return MeanIoU()

    def add(self, outputs: Outputs, reference: Outputs, target: Any) -> None:
        import numpy as np

        name = labelled_output(reference)
        expected, found = labels_of(reference[name]), labels_of(outputs[name])
        truth = expected if target is None else self._truth(target, expected)
        if found.shape != truth.shape:
            found = np.full_like(truth, -1)  # all wrong
        counts = truth != IGNORED if target is not None else np.ones(truth.shape, np.bool_)
        truth, found = truth[counts], found[counts]
        for label in np.union1d(truth, found):
            one, other = truth == label, found == label
            place = int(label)
            self.both[place] = self.both.get(place, 0) + int((one & other).sum())
            self.either[place] = self.either.get(place, 0) + int((one | other).sum())

    def _truth(self, target: Any, expected: Array) -> Array:
        import numpy as np

        from enginesmith.converters.data.datasets.arrays import as_array

        array = as_array(target, "a target of METRIC=miou")
        if array.size != expected.size or (array.astype(np.int64) != array).any():
            raise UserError(
                f"METRIC=miou takes a class number for each pixel, {list(expected.shape)}, and a target is "
                f"{array.dtype} {list(array.shape)}"
            )
        return array.astype(np.int64).reshape(expected.shape)

    def value(self) -> float:
        shares = [self.both[label] / union for label, union in self.either.items() if union and label >= 0]
        return sum(shares) / len(shares) if shares else 1.0


def labelled_output(outputs: Outputs) -> str:
    """Name of the output that has a class for each pixel. Raises UserError where there is none."""
    for name, array in outputs.items():
        if array.dtype.kind in "iu" and array.ndim >= 2:
            return name
    for name, array in outputs.items():
        if array.dtype.kind == "f" and array.ndim == 4 and array.shape[1] > 1:
            return name
    listed = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in outputs.items())
    raise UserError(
        f"METRIC=miou needs labels (integers) [N, H, W], or floats [N, classes, H, W], and there is {listed}; give METRIC=cosine"
    )


def labels_of(array: Array) -> Array:
    """Class numbers int64 [N, H, W]; -1 where a score is NaN or infinite."""
    import numpy as np

    if array.dtype.kind != "f":
        whole = array.astype(np.int64)
        return whole[:, 0] if whole.ndim == 4 and whole.shape[1] == 1 else whole
    broken = (np.isnan(array) | (array == np.inf)).any(axis=1)
    return np.where(broken, -1, array.argmax(axis=1))
