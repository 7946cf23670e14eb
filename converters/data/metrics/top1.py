"""The share of rows whose best class is right."""

from __future__ import annotations

import math
from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import Array
from enginesmith.converters.data.datasets.location import CLASSES
from enginesmith.converters.data.metrics.base import Metric, Outputs


class Top1(Metric):
    """By the data's labels, else by the best class of the float32 graph. The classes are the first output [N, classes]
    of floats.
    """

    name = "top-1"

    def __init__(self) -> None:
        self.right = 0
        self.rows = 0
        self.classes = 0
        """Of labelled data; 0 where the float32 graph's answers are the labels."""

    def fresh(self) -> Top1:
        return Top1()

    def add(self, outputs: Outputs, reference: Outputs, target: Any) -> None:
        import numpy as np

        name = classes_output(reference)
        expected, found = reference[name], outputs[name]
        truth = expected.argmax(axis=1) if target is None else labels(target, *expected.shape)
        self.rows += len(truth)
        self.classes = 0 if target is None else expected.shape[1]
        if found.shape != expected.shape:
            return
        broken = (np.isnan(found) | (found == np.inf)).any(axis=1)
        self.right += int(((found.argmax(axis=1) == truth) & ~broken).sum())

    def value(self) -> float:
        return self.right / max(self.rows, 1)

    def doubt(self) -> str:
        if not self.classes or not self.rows:
            return ""
        chance = 1 / self.classes
        guessing = chance + 2 * math.sqrt(chance * (1 - chance) / self.rows)  # two standard deviations
        if self.value() > guessing:
            return ""
        return (
            f"the float32 model is right on {self.right} of {self.rows} labels, no better than guessing among its "
            f"{self.classes} classes: are the labels numbered as its classes are? A folder's {CLASSES} says their order"
        )


def classes_output(outputs: Outputs) -> str:
    """Name of the first output of floats [N, classes]. Raises UserError where there is none."""
    for name, array in outputs.items():
        if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind == "f":
            return name
    listed = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in outputs.items())
    raise UserError(f"METRIC=top1 needs an output of floats [N, classes], and there is {listed}; give METRIC=cosine")


def labels(target: Any, rows: int, classes: int) -> Array:
    """Class numbers int64 [rows] from numbers, or from rows with a single 1. Raises UserError for anything else."""
    import numpy as np

    from enginesmith.converters.data.datasets.arrays import as_array

    array = as_array(target, "a target of METRIC=top1")
    if array.shape == (rows, classes) and ((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all():
        array = array.argmax(axis=1)
    if array.ndim == 1 and rows == 1 and array.shape == (classes,) and classes > 1:  # one row's, without its axis
        return labels(array[None], rows, classes)
    if array.size != rows or array.ndim > 2:
        raise UserError(
            f"METRIC=top1 takes a class number for each of {rows} rows, and a target is {list(array.shape)}"
        )
    array = array.reshape(rows)
    numbers = array.astype(np.int64)
    if (numbers != array).any():
        raise UserError(f"METRIC=top1 takes class numbers as targets, and one is {array.tolist()}")
    if (numbers < 0).any() or (numbers >= classes).any():
        raise UserError(f"a target is class {numbers.tolist()}, and the model has {classes} classes, numbered from 0")
    return numbers
