"""Reshaped and transposed weights, folded with numpy.

TVM's FoldConstant compiles a kernel for every constant that it folds, a third of a second each: 50 s for a Faster R-CNN,
whose simplified graph holds some 80 reshaped biases and little else to fold.
"""

from __future__ import annotations

from typing import Any


def fold_layouts(module: Any) -> Any:
    """`module` with `reshape` and `permute_dims` of constants done; what else there is to fold is left to TVM."""
    import numpy as np
    import tvm
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    reshape, permute = tvm.ir.Op.get("relax.reshape"), tvm.ir.Op.get("relax.permute_dims")

    @mutator
    class Fold(PyExprMutator):  # type: ignore[misc]
        def visit_call_(self, call: Any) -> Any:
            call = self.visit_expr_post_order(call)
            if call.op not in (reshape, permute):
                return call
            value = self.lookup_binding(call.args[0]) if isinstance(call.args[0], relax.Var) else call.args[0]
            if not isinstance(value, tvm.ir.GenericConst):
                return call
            array = value.value.numpy()
            if call.op == permute:
                axes = None if call.attrs.axes is None else [int(axis) for axis in call.attrs.axes]
                array = np.transpose(array, axes)
            elif isinstance(call.args[1], relax.ShapeExpr) and all(isinstance(d, tvm.tirx.IntImm) for d in call.args[1]):
                array = array.reshape([int(size) for size in call.args[1]])
            else:
                return call
            return relax.const(np.ascontiguousarray(array), str(array.dtype))

    folder = Fold(module)
    for name, function in module.functions.items():
        if isinstance(function, relax.Function):
            folder.builder_.update_func(name, folder.visit_expr(function))
    return folder.builder_.get()
