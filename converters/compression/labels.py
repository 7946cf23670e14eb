"""Indices of tensors that can only be cut together: a union-find over labels, one for each index of each dimension.

Operators pass labels on as they pass the indices themselves (a concatenation concatenates them, a slice slices them), and
unite those that must stay or go as one: of two summands, of a weight's inputs and the channels that it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Indices: TypeAlias = npt.NDArray[np.int64]
"""The labels along one dimension."""
Dims: TypeAlias = tuple[Indices, ...]
"""Those of a tensor."""

Classes: TypeAlias = npt.NDArray[np.bool_]
"""Some of them, as a table over all labels."""

FIXED = 0
"""Of an index that is no channel: a place in a picture, an example of a batch."""


def fixed(size: int) -> Indices:
    return np.zeros(size, dtype=np.int64)


class Labels:
    """A class of labels is what is cut together. A frozen one can't be, and has a reason."""

    def __init__(self) -> None:
        self._parent: Indices = np.zeros(1024, dtype=np.int64)
        self._count = 1
        self._reasons: list[str] = []
        self._frozen: list[tuple[Indices, int]] = []

    def fresh(self, size: int) -> Indices:
        """Labels of a dimension of which nothing is known yet; one of size 1 is never cut."""
        if size <= 1:
            return fixed(size)
        start, self._count = self._count, self._count + size
        while self._count > len(self._parent):
            self._parent = np.concatenate([self._parent, np.zeros_like(self._parent)])
        made = np.arange(start, self._count)
        self._parent[start : self._count] = made
        return made.copy()

    def find(self, labels: Indices) -> Indices:
        """What stands for their classes."""
        roots = self._parent[labels]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                break
            roots = above
        self._parent[labels] = roots
        return roots

    def unite(self, one: Indices, other: Indices, reason: str) -> None:
        """Element by element. What meets a fixed index is frozen, with the reason."""
        one, other = np.broadcast_arrays(one, other)
        one, other = one.ravel(), other.ravel()
        met = (one == FIXED) | (other == FIXED)
        self.freeze(np.concatenate([one[met], other[met]]), reason)
        one, other = one[~met], other[~met]
        while len(one):
            first, second = self.find(one), self.find(other)
            differ = first != second
            if not differ.any():
                return
            low, high = np.minimum(first, second)[differ], np.maximum(first, second)[differ]
            np.minimum.at(self._parent, high, low)

    def freeze(self, labels: Indices, reason: str) -> None:
        labels = labels[labels != FIXED]
        if len(labels):
            self._frozen.append((labels, len(self._reasons)))
            self._reasons.append(reason)

    def freeze_all(self, dims: Sequence[Indices], reason: str) -> None:
        for labels in dims:
            self.freeze(labels, reason)

    def among(self, labels: Indices, classes: Classes) -> Classes:
        """Which of them belong to these classes."""
        return classes[self.find(labels)]

    def table(self, classes: Iterable[int]) -> Classes:
        made = np.zeros(self._count, dtype=np.bool_)
        made[[*classes]] = True
        return made

    def frozen(self) -> dict[int, str]:
        """The classes that can't be cut, each with the first reason that was found."""
        found: dict[int, str] = {FIXED: ""}
        for labels, reason in self._frozen:
            for root in np.unique(self.find(labels)):
                found.setdefault(int(root), self._reasons[reason])
        return found
