"""Arithmetic that a rewrite does at once where the operands are known, and leaves to the graph where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.reference import evaluate
from enginesmith.compat.values import Array, constant, shape, to_array

Operand = ir.Value | Array
"""A value that is known at run time only, or a constant."""


def modern(build: Builder) -> None:
    """Raises NotApplicable below opset 18, from which axes are inputs everywhere."""
    if build.opset < 18:
        raise NotApplicable(f"the graph's opset is {build.opset}")


class Arithmetic:
    """Operators over constants and values. A result is a constant where every operand is one."""

    def __init__(self, build: Builder) -> None:
        self.build = build

    def op(self, op_type: str, *operands: Any, **attributes: Any) -> Operand:
        """One output of an operator of the default domain. Python numbers become float32 or int64."""
        known = [self.known(operand) for operand in operands]
        arrays = [array for array in known if array is not None]
        if len(arrays) == len(known):
            names = [ir.Value(name=f"x{index}") for index in range(len(arrays))]
            node = ir.node(op_type, names, attributes)
            node.outputs[0].name = "y"
            results = evaluate(node, arrays)
            if results is not None:
                return np.asarray(results[0])
        return self.build.op(op_type, *operands, **attributes)

    def known(self, operand: Any) -> Array | None:
        """The operand's content, None where only the run tells it."""
        return constant(operand) if isinstance(operand, ir.Value) else to_array(operand)

    def size(self, value: ir.Value, axis: int) -> Operand:
        """The size along an axis, an int64 scalar. The rank must be known."""
        sizes = shape(value)
        known = None if sizes is None else sizes[axis]
        return np.array(known) if known is not None else self.op("Gather", self.op("Shape", value), np.array(axis))

    def product(self, sizes: Sequence[Operand]) -> Operand:
        """Of int64 scalars; 1 of none."""
        result: Operand = np.array(1)
        for size in sizes:
            result = self.op("Mul", result, size)
        return result

    def vector(self, sizes: Sequence[Operand]) -> Operand:
        """Scalars one behind the other, int64[n]."""
        return self.op("Concat", *(self.op("Reshape", size, np.array([1])) for size in sizes), axis=0)

    def counted(self, size: Operand) -> Operand:
        """0, 1, 2, … below an int64 scalar, int64[size]."""
        return self.op("Range", np.array(0), size, np.array(1))

    def value(self, operand: Operand) -> ir.Value:
        """The operand as an input of a node."""
        return operand if isinstance(operand, ir.Value) else self.build.constant(operand)
