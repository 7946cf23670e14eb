"""The account of a compiled module: what each call of its `main` computes, of which ONNX nodes, and how much work that is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from enginesmith.converters.backends.tvm.kernels import traces
from enginesmith.converters.backends.tvm.kernels.fused import traced_calls
from enginesmith.converters.core.engine_layers import Layer
from enginesmith.converters.graphs.products import KINDS, Products

KERNEL_CALLS = ("relax.call_tir", "relax.call_tir_inplace", "relax.call_dps_packed", "relax.call_pure_packed")


@dataclass(frozen=True)
class Work:
    """What a call of the graph stands for, before operators are lowered and fused."""

    kernel: str
    """Kind of kernel, or the operator that is left to TVM."""
    ours: bool
    nodes: tuple[int, ...]
    """Numbers of the ONNX nodes."""
    flops: int
    dtype: str = ""
    """What its products compute in: `int8` where both factors are integers in memory."""


def note_operators(module: Any, works: list[Work]) -> Any:
    """The module with every call of `main` traced to an entry of `works`, which grows by those that have no kernel of ours."""
    known = traces.spread(module)
    found: dict[Any, traces.Trace] = {}
    for binding in traces.bindings(module):
        trace, value = known.get(binding.var), getattr(binding, "value", None)
        own = traces.of(binding)
        if not isinstance(value, relax.Call):
            continue
        if own is None or own.table != traces.LAYER:
            nodes = (
                () if trace is None else works[trace.number].nodes if trace.table == traces.LAYER else (trace.number,)
            )
            works.append(Work(_name(value), False, nodes, flops(value), str(getattr(value.ty, "dtype", ""))))
            own = traces.Trace(traces.LAYER, len(works) - 1)
        found[binding.var] = own
    return traces.mark(module, found)


def layers(lowered: Any, fused: Any, works: Sequence[Work], nodes: Sequence[tuple[str, str]]) -> list[Layer]:
    """The layers of a module, one for each call of a kernel in `main`, in its order: `lowered` before operators are fused,
    `fused` after it. `nodes` has name and operator of the ONNX nodes by number.
    """
    counted: set[int] = set()
    made = []
    for call, traced in traced_calls(lowered, fused):
        callee, arguments = _callee(call)
        if callee is None:
            continue
        numbers = dict.fromkeys(trace.number for trace in traced if trace.table == traces.LAYER)
        done = [works[number] for number in numbers]
        covered = sorted({node for work in done for node in work.nodes})
        made.append(
            Layer(
                function=_name(call) if isinstance(callee, tvm.ir.Op) else _called(callee),
                kernel=" + ".join(dict.fromkeys(work.kernel for work in done)),
                ours=any(work.ours for work in done),
                nodes=[nodes[number][0] for number in covered],
                ops=[nodes[number][1] for number in covered],
                shape=_shapes(call.ty)[0][0] if _shapes(call.ty) else [],
                flops=sum(works[number].flops for number in numbers if number not in counted),
                bytes=sum(_bytes(argument.ty) for argument in arguments) + _bytes(call.ty),
            )
        )
        counted |= set(numbers)
    return made


def products(works: Sequence[Work], nodes: Sequence[tuple[str, str]]) -> Products:
    """The ONNX graph's products by kind and by what they compute in. `nodes` has name and operator by number."""
    counts: dict[str, Counter[str]] = {}
    dtypes = {number: work.dtype for work in works if work.flops for number in work.nodes}
    for number, dtype in dtypes.items():
        if kind := KINDS.get(nodes[number][1]):
            counts.setdefault(kind, Counter())[dtype] += 1
    return {kind: dict(found) for kind, found in counts.items()}


def flops(call: Any) -> int:
    """Multiplications and additions of a convolution or a product of matrices as it is defined; 0 for other operators."""
    name = _name(call)
    shapes = [_shapes(argument.ty) for argument in call.args[:2]] + [_shapes(call.ty)]
    if not all(shapes) or len(shapes) < 3:
        return 0
    source, weights, result = (list(shape[0][0]) for shape in shapes)
    if name == "matmul":
        return 2 * source[-1] * math.prod(result)
    if name.startswith("conv") and name.endswith("transpose"):
        return 2 * math.prod(weights[1:]) * math.prod(source)
    return 2 * math.prod(weights[1:]) * math.prod(result) if name.startswith("conv") else 0


def _callee(call: Any) -> tuple[Any, list[Any]]:
    """The kernel that a call runs and its arguments; no kernel for a call that computes no tensor.

    An operator that is lowered last of all, such as a sort, stands for its own kernel.
    """
    if isinstance(call.op, tvm.ir.GlobalVar):
        return call.op, list(call.args)
    if not isinstance(call.op, tvm.ir.Op) or not isinstance(call.ty, relax.TensorType | relax.TupleType):
        return None, []
    if call.op.name in KERNEL_CALLS:
        rest = [field for argument in call.args[1:] for field in getattr(argument, "fields", [argument])]
        return call.args[0], rest
    return call.op, list(call.args)


def _called(callee: Any) -> str:
    """The name of a function, of the module or of a library."""
    return str(getattr(callee, "name_hint", None) or callee.global_symbol)


def _name(call: Any) -> str:
    """`conv2d` for `relax.nn.conv2d`, and for a function that the frontend has lowered already its own name."""
    if not isinstance(call.op, tvm.ir.Op):
        return str(getattr(call.op, "name_hint", "function"))
    if call.op.name in KERNEL_CALLS:
        return _called(call.args[0])
    return str(call.op.name.rpartition(".")[2])


def _shapes(kind: Any) -> list[tuple[list[int], int]]:
    """Sizes and bytes of a number for each tensor of a type; empty where a size isn't known."""
    fields = list(kind.fields) if isinstance(kind, relax.TupleType) else [kind]
    found = []
    for field in fields:
        if not isinstance(field, relax.TensorType) or not isinstance(field.shape, relax.ShapeExpr):
            return []
        if not all(isinstance(size, tvm.tirx.IntImm) for size in field.shape):
            return []
        width = 2 if str(field.dtype) == "bfloat16" else np.dtype(str(field.dtype)).itemsize
        found.append(([int(size) for size in field.shape], width))
    return found


def _bytes(kind: Any) -> int:
    return sum(math.prod(shape) * width for shape, width in _shapes(kind))
