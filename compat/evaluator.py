"""onnx's own reference evaluator, mended where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    from enginesmith.compat.values import Array


def evaluator(model: onnx.ModelProto, more: Sequence[type[OpRun]] = ()) -> ReferenceEvaluator:
    """onnx's reference evaluator for a model; `more` are operators that it hasn't."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model, new_ops=[*_mended(), *more])


@cache
def _mended() -> tuple[type[OpRun], ...]:
    """Operators that the evaluator has wrong (onnx 1.23): the largest of anything but planes lacks axes, or is of others."""
    from onnx.reference.op_run import OpRun

    class GlobalMaxPool(OpRun):  # its name is the operator's
        op_domain = ""

        def _run(self, x: Array) -> tuple[Any]:
            return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)

    return (GlobalMaxPool,)
