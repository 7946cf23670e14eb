"""Tensors of more axes than TensorRT has, in fewer: neighbouring axes that an operator treats alike are one to it.

Data lie in rows, whatever axes they are said to have. A tensor of too many axes is therefore kept in any form of few, and every
operator that reads it gets it in its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.building import Builder, NotApplicable, insert, replace
from enginesmith.compat.checks.types import MAX_DIMENSIONS
from enginesmith.compat.operators import BROADCASTING, REDUCTIONS, UNARY
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, constant, rank, shape
from enginesmith.compat.walk import graphs

SAME_DATA = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
ALONG_ONE = ("Concat", "CumSum", "Gather", "Hardmax", "LogSoftmax", "Softmax")
"""What works along one axis, with its place in an attribute or, of CumSum, in an input."""
FIRST_OF_AXIS = {"Concat": None, "Gather": 0, "Hardmax": -1, "LogSoftmax": -1, "Softmax": -1}
"""The axis where none is given."""

Groups = list[list[int]]
"""Neighbouring axes that are one, from the first to the last."""


@graph_repair(
    "many-axes",
    backends=TENSORRT,
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
windows (float[1, 4, 4, 4, 3] x) => (float[1, 4, 4, 4, 3] y)
  <int64[9] cut = {1, 2, 2, 2, 2, 2, 2, 3, 1}, int64[5] whole = {1, 4, 4, 4, 3}> {
  parts = Reshape (x, cut)
  turned = Transpose <perm = [0, 1, 3, 5, 2, 4, 6, 7, 8]> (parts)
  y = Reshape (turned, whole)
}
""",
)
def many_axes(model: ir.Model, target: Target) -> int:
    """Tensors of more than 8 axes are kept with fewer: those that an operator treats alike are one to it."""
    changes = 0
    for graph in graphs(model):
        few: dict[ir.Value, ir.Value] = {}
        for node in list(graph):
            if not any(_too_many(value) for value in (*node.inputs, *node.outputs)):
                continue
            build = Builder(node, target)
            try:
                result = _Rewrite(build, few).result()
                if not _too_many(node.outputs[0]):
                    replace(node, build, result)
            except NotApplicable:
                continue
            if node.graph is not None:
                insert(node, build)
                few[node.outputs[0]] = result
            changes += 1
    if changes:
        common.RemoveUnusedNodesPass()(model)
    return changes


def _too_many(value: ir.Value | None) -> bool:
    return (rank(value) or 0) > MAX_DIMENSIONS


class _Rewrite:
    """One operator on tensors of few axes. `few` has those of too many that were rewritten before, in any form."""

    def __init__(self, build: Builder, few: dict[ir.Value, ir.Value]) -> None:
        self.build = build
        self.node = build.node
        self.few = few

    def result(self) -> ir.Value:
        """The first output: in its own axes where they are few enough, else in any that are. Raises NotApplicable."""
        node = self.node
        if node.domain or len(node.outputs) != 1:
            raise NotApplicable("it is no operator that is known in fewer axes")
        ways: dict[str, Callable[[], ir.Value]] = {
            **dict.fromkeys(SAME_DATA, lambda: self.data(node.inputs[0])),
            **dict.fromkeys((*UNARY, "Cast", "CastLike"), self.unary),
            **dict.fromkeys(BROADCASTING, self.broadcast),
            **dict.fromkeys(REDUCTIONS, self.reduced),
            **dict.fromkeys(ALONG_ONE, self.along_one),
            "Expand": self.expanded,
            "MatMul": self.product,
            "Transpose": self.transposed,
        }
        if node.op_type not in ways:
            raise NotApplicable("it is no operator that is known in fewer axes")
        found = ways[node.op_type]()
        return found if _too_many(node.outputs[0]) else self.reshaped(found, self.sizes(node.outputs[0]))

    def data(self, value: ir.Value | None) -> ir.Value:
        """A value in any form of few axes."""
        if value is None:
            raise NotApplicable("an input is left out")
        if value in self.few:
            return self.few[value]
        if not _too_many(value):
            return value
        content = constant(value)
        if content is None:
            raise NotApplicable(f"{value.name} has too many axes from the start")
        return self.build.constant(content.reshape(-1))

    def sizes(self, value: ir.Value | None) -> list[int | None]:
        found = shape(value)
        if found is None or 0 in found:
            raise NotApplicable("its sizes are unknown")
        return found

    def reshaped(self, value: ir.Value, sizes: Sequence[int | None]) -> ir.Value:
        if sum(size is None for size in sizes) > 1:
            raise NotApplicable("more than one size is known at run time only")
        return self.build.op("Reshape", value, np.array([-1 if size is None else size for size in sizes], np.int64))

    def merged(self, value: ir.Value | None, groups: Groups, axes: int) -> ir.Value:
        """A value with an axis for each group of its own, which has been broadcast to so many `axes`."""
        own = _padded(self.sizes(value), axes)
        if len(groups) > MAX_DIMENSIONS:
            raise NotApplicable("too many axes are left")
        return self.reshaped(self.data(value), [_product([own[axis] for axis in group]) for group in groups])

    def unary(self) -> ir.Value:
        return self.build.again(self.node, self.data(self.node.inputs[0]), *self.node.inputs[1:])

    def broadcast(self) -> ir.Value:
        axes = max(len(self.sizes(value)) for value in self.node.inputs)
        groups = self.alike([self.sizes(value) for value in self.node.inputs], axes)
        inputs = [self.merged(value, groups, axes) for value in self.node.inputs]
        return self.build.again(self.node, *inputs)

    def expanded(self) -> ir.Value:
        whole = self.sizes(self.node.outputs[0])
        groups = self.alike([self.sizes(self.node.inputs[0]), whole], len(whole))
        sizes = [_product([whole[axis] for axis in group]) for group in groups]
        if None in sizes:
            raise NotApplicable("its size is known at run time only")
        return self.build.op("Expand", self.merged(self.node.inputs[0], groups, len(whole)), np.array(sizes, np.int64))

    def product(self) -> ir.Value:
        sizes = [self.sizes(value) for value in self.node.inputs]
        if min(map(len, sizes)) < 2:
            raise NotApplicable("one side is a vector")
        axes = max(map(len, sizes))
        groups = [*self.alike([size[:-2] for size in sizes], axes - 2), [axes - 2], [axes - 1]]
        return self.build.op("MatMul", *(self.merged(value, groups, axes) for value in self.node.inputs))

    def alike(self, sizes: Sequence[Sequence[int | None]], axes: int) -> Groups:
        """Neighbours that the same inputs have a size of their own in; the others are broadcast to it."""
        padded = [_padded(size, axes) for size in sizes]
        kinds = [tuple(size[axis] == 1 for size in padded) for axis in range(axes)]
        for axis, kind in enumerate(kinds):
            if all(kind) and axis:  # of size 1 in all: it goes with any neighbour
                kinds[axis] = kinds[axis - 1]
        return _grouped(kinds)

    def reduced(self) -> ir.Value:
        whole = len(self.sizes(self.node.inputs[0]))
        given = constant(argument(self.node, 1))
        if given is None and (argument(self.node, 1) is not None or attribute(self.node, "noop_with_empty_axes", 0)):
            raise NotApplicable("its axes are known at run time only")
        axes = {int(axis) % whole for axis in given.reshape(-1)} if given is not None else set(range(whole))
        groups = _grouped([axis in axes for axis in range(whole)])
        places = [place for place, group in enumerate(groups) if group[0] in axes]
        data = self.merged(self.node.inputs[0], groups, whole)
        return self.build.op(self.node.op_type, data, np.array(places, np.int64), keepdims=0)

    def along_one(self) -> ir.Value:
        """Before the axis, the axis, and what follows it."""
        node = self.node
        data = [node.inputs[0]] if node.op_type != "Concat" else list(node.inputs)
        whole = len(self.sizes(data[0]))
        if node.op_type == "CumSum":
            place = constant(argument(node, 1))
            axis = None if place is None else int(place.reshape(()))
        else:
            axis = attribute(node, "axis", FIRST_OF_AXIS[node.op_type])
        if axis is None:
            raise NotApplicable("its axis is known at run time only")
        axis %= whole
        groups = [list(range(axis)), [axis], list(range(axis + 1, whole))]
        inputs = [self.merged(value, groups, whole) for value in data]
        if node.op_type == "CumSum":
            inputs.append(self.build.constant(np.array(1, np.int64)))
        elif node.op_type == "Gather":
            inputs.append(self.data(node.inputs[1]))
        return self.build.again(node, *inputs, **({} if node.op_type == "CumSum" else {"axis": 1}))

    def transposed(self) -> ir.Value:
        """Axes that stay neighbours are one. Where too many are left, a few at a time are put in their places."""
        sizes = self.sizes(self.node.inputs[0])
        turned = [int(axis) for axis in attribute(self.node, "perm", range(len(sizes))[::-1])]
        turned = [axis for axis in turned if sizes[axis] != 1]  # where an axis of size 1 lies makes no difference
        ranks = {axis: place for place, axis in enumerate(sorted(turned))}
        runs = [
            [axis for _, axis in run] for _, run in groupby(enumerate(turned), lambda item: ranks[item[1]] - item[0])
        ]
        data, left = self.data(self.node.inputs[0]), sorted(runs)
        lengths = {run[0]: _product([sizes[axis] for axis in run]) for run in runs}
        done: list[list[int]] = []
        while left and left != runs[len(done) :]:
            front = runs[len(done) :] if len(left) + bool(done) <= MAX_DIMENSIONS else runs[len(done) :][:3]
            behind = [run for run in left if run not in front]
            data = self._moved(data, done, left, [*front, *behind], lengths)
            done, left = [*done, *front], behind
        return data

    def _moved(
        self,
        data: ir.Value,
        done: Sequence[list[int]],
        left: Sequence[list[int]],
        wanted: Sequence[list[int]],
        lengths: dict[int, int | None],
    ) -> ir.Value:
        """Runs of axes in a new order, behind those that have their places. Of what stays together few axes are made."""
        places = [list(left).index(run) for run in wanted]
        pieces = [
            [place for _, place in piece] for _, piece in groupby(enumerate(places), lambda item: item[1] - item[0])
        ]
        ordered = sorted(pieces)
        before = [_product([lengths[run[0]] for run in done])] if done else []
        own = [_product([lengths[left[place][0]] for place in piece]) for piece in ordered]
        if len(before) + len(own) > MAX_DIMENSIONS:
            raise NotApplicable("too many axes are left")
        flat = self.reshaped(data, [*before, *own])
        shift = len(before)
        perm = [*range(shift), *(shift + ordered.index(piece) for piece in pieces)]
        return self.build.op("Transpose", flat, perm=perm)


def _padded(sizes: Sequence[int | None], axes: int) -> list[int | None]:
    return [*([1] * (axes - len(sizes))), *sizes]


def _grouped(kinds: Sequence[Hashable]) -> Groups:
    return [[axis for axis, _ in run] for _, run in groupby(enumerate(kinds), lambda item: item[1])]


def _product(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else math.prod(size for size in sizes if size is not None)
