"""Arithmetic that a rewrite does at once where the operands are known, and leaves to the graph where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.reference import evaluate
from enginesmith.compat.values import Array, constant, to_array

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

    def value(self, operand: Operand) -> ir.Value:
        """The operand as an input of a node."""
        return operand if isinstance(operand, ir.Value) else self.build.constant(operand)
