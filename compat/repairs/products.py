"""Einsum, products with vectors and determinants, written with the products that backends have."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import attribute, dtype, rank, shape, static_shape

MAX_DETERMINANT = 4
"""The terms of a determinant written out grow with the factorial of its size."""


@repair(
    "matmul-vector",
    ops="MatMul",
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
product (float[4] a, float[2, 4, 1] b) => (float[2, 1] c) { c = MatMul (a, b) }
""",
)
def matmul_vector(node: ir.Node, build: Builder) -> Replacement:
    """A vector in a matrix product becomes a matrix of one row or column, and the product loses that axis again."""
    a, b = node.inputs
    left, right = rank(a), rank(b)
    if left is None or right is None or 1 not in (left, right):
        raise NotApplicable("neither operand is a vector")
    axes = []
    if left == 1:
        a = build.op("Unsqueeze", a, [0])
        axes.append(-2)
    if right == 1:
        b = build.op("Unsqueeze", b, [1])
        axes.append(-1)
    return build.op("Squeeze", build.op("MatMul", a, b), axes)


@repair(
    "determinant",
    ops="Det",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
determinant (float[5, 3, 3] x) => (float[5] y) { y = Det (x) }
""",
)
def determinant(node: ir.Node, build: Builder) -> Replacement:
    """The determinant of a small matrix is written out, by cofactors of its first row."""
    x = node.inputs[0]
    size = (shape(x) or [None])[-1]
    if x is None or size is None or not 1 <= size <= MAX_DETERMINANT:
        raise NotApplicable(f"only matrices up to {MAX_DETERMINANT} x {MAX_DETERMINANT} are written out")
    rows = [build.op("Gather", x, np.int64(row), axis=-2) for row in range(size)]
    cells = [[build.op("Gather", row, np.int64(column), axis=-1) for column in range(size)] for row in rows]

    def minor(row: int, columns: list[int]) -> ir.Value:
        if len(columns) == 1:
            return cells[row][columns[0]]
        total: ir.Value | None = None
        for place, column in enumerate(columns):
            rest = [other for other in columns if other != column]
            term = build.op("Mul", cells[row][column], minor(row + 1, rest))
            total = term if total is None else build.op("Sub" if place % 2 else "Add", total, term)
        assert total is not None
        return total

    return minor(0, list(range(size)))


@repair(
    "einsum-by-matmul",
    ops="Einsum",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
scores (float[2, 3, 4] a, float[2, 5, 4] b) => (float[2, 3, 5] y) { y = Einsum <equation = "BiK,BjK->Bij"> (a, b) }
""",
)
def einsum_by_matmul(node: ir.Node, build: Builder) -> Replacement:
    """Einsum becomes transpositions, matrix products and sums, one operand after the other."""
    operands = []
    for value in node.inputs:
        dims = static_shape(value)
        if dims is None or value is None:
            raise NotApplicable("its shapes are not static")
        operands.append((value, dims))
    if dtype(node.inputs[0]) not in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16):
        raise NotApplicable("it multiplies integers")
    terms, result = _labels(str(attribute(node, "equation", "")), [len(dims) for _, dims in operands])
    sizes: dict[str, int] = {}
    for (_, dims), term in zip(operands, terms, strict=True):
        for name, size in zip(term, dims, strict=True):
            sizes[name] = size if sizes.get(name, 1) == 1 else sizes[name]
    work = Contraction(build, sizes)
    tensors = [work.operand(value, dims, term) for (value, dims), term in zip(operands, terms, strict=True)]
    left, labels = tensors[0]
    for index, (right, others) in enumerate(tensors[1:], 1):
        wanted = set(result).union(*(names for _, names in tensors[index + 1 :]))
        left, labels = work.product(left, labels, right, others, wanted)
    left, labels = work.summed(left, labels, set(result))
    return work.ordered(left, labels, result)


def _labels(equation: str, ranks: list[int]) -> tuple[list[list[str]], list[str]]:
    """The labels of each operand and of the result; an ellipsis stands for labels `...0`, `...1`, from the right."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ranks):
        raise NotApplicable("the equation has another number of operands")
    terms = []
    for term, dimensions in zip(inputs, ranks, strict=True):
        count = dimensions - len(term.replace("...", ""))
        terms.append(_expanded(term, count))
    hidden = sorted({name for term in terms for name in term if name.startswith(".")}, reverse=True)
    if arrow:
        result = _expanded(right, len(hidden))
    else:
        seen = [name for term in terms for name in term if not name.startswith(".")]
        result = hidden + sorted(name for name in set(seen) if seen.count(name) == 1)
    return terms, result


def _expanded(term: str, count: int) -> list[str]:
    before, dots, after = term.partition("...")
    if not dots:
        return list(term)
    return [*before, *(f"...{place}" for place in reversed(range(count))), *after]


class Contraction:
    """Emits the nodes of a contraction. A tensor goes with its labels, each of which occurs once."""

    def __init__(self, build: Builder, sizes: dict[str, int]) -> None:
        self.build = build
        self.sizes = sizes

    def operand(self, value: ir.Value, dims: list[int], term: list[str]) -> tuple[ir.Value, list[str]]:
        """An operand with the diagonal taken of labels that it repeats, and broadcast sizes of 1 dropped."""
        names = list(term)
        while repeated := next((name for name in names if names.count(name) > 1), None):
            first = names.index(repeated)
            second = names.index(repeated, first + 1)
            if dims[first] != dims[second]:
                raise NotApplicable("a repeated label has two sizes")
            rest = [axis for axis in range(len(names)) if axis not in (first, second)]
            size = dims[first]
            value = self.build.op("Transpose", value, perm=[first, second, *rest])
            dims = [size * size, *(dims[axis] for axis in rest)]
            value = self.build.op("Reshape", value, dims)
            value = self.build.op("Gather", value, np.arange(size) * (size + 1), axis=0)
            dims, names = [size, *dims[1:]], [repeated, *(names[axis] for axis in rest)]
        narrow = [axis for axis, name in enumerate(names) if dims[axis] == 1 and self.sizes[name] != 1]
        if narrow:
            value = self.build.op("Squeeze", value, narrow)
            names = [name for axis, name in enumerate(names) if axis not in narrow]
        return value, names

    def summed(self, value: ir.Value, labels: list[str], wanted: set[str]) -> tuple[ir.Value, list[str]]:
        """Sum over the labels that are not wanted."""
        gone = [axis for axis, name in enumerate(labels) if name not in wanted]
        if gone:
            value = self.build.op("ReduceSum", value, gone, keepdims=0)
        return value, [name for name in labels if name in wanted]

    def ordered(self, value: ir.Value, labels: list[str], order: list[str]) -> ir.Value:
        """The tensor with its labels in this order; labels that it lacks are left out."""
        perm = [labels.index(name) for name in order if name in labels]
        return value if perm == sorted(perm) else self.build.op("Transpose", value, perm=perm)

    def product(
        self, left: ir.Value, labels: list[str], right: ir.Value, others: list[str], wanted: set[str]
    ) -> tuple[ir.Value, list[str]]:
        """The product of two tensors, summed over the shared labels that are not wanted: one MatMul."""
        left, labels = self.summed(left, labels, wanted.union(others))
        right, others = self.summed(right, others, wanted.union(labels))
        batch = [name for name in labels if name in others and name in wanted]
        inner = [name for name in labels if name in others and name not in wanted]
        rows = [name for name in labels if name not in others]
        columns = [name for name in others if name not in labels]
        outer = [self.sizes[name] for name in batch]
        a = self._matrix(left, labels, [*batch, *rows, *inner], [*outer, self._count(rows), self._count(inner)])
        b = self._matrix(right, others, [*batch, *inner, *columns], [*outer, self._count(inner), self._count(columns)])
        order = [*batch, *rows, *columns]
        return self._reshaped(self.build.op("MatMul", a, b), [self.sizes[name] for name in order]), order

    def _count(self, labels: list[str]) -> int:
        return prod(self.sizes[name] for name in labels)

    def _matrix(self, value: ir.Value, labels: list[str], order: list[str], sizes: list[int]) -> ir.Value:
        return self._reshaped(self.ordered(value, labels, order), sizes)

    def _reshaped(self, value: ir.Value, sizes: list[int]) -> ir.Value:
        return self.build.op("Reshape", value, np.array(sizes, np.int64))
