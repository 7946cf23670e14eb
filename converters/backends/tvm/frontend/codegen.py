"""From scheduled kernels to machine code: TVM's own pipeline, without steps that take long and change nothing here."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, tirx

from enginesmith.converters.backends.tvm.kernels import traces
from enginesmith.converters.backends.tvm.kernels.emit import COMPUTES_IN

PIPELINE = "enginesmith"
INNER = "fed_by_kernels_alone"
"""The attribute of a kernel that gets nothing but what the virtual machine has allocated for other kernels' results."""
COMPACTION = "s_tir.CompactBufferAllocation"
"""Shrinks buffers to the part of them that is used, for which it holds all accesses against each other. Our kernels use
all of theirs.
"""


def compile_module(module: Any, target: Any) -> Any:
    """Machine code of scheduled kernels, and the virtual machine's program where functions of Relax call them."""
    tirx.register_tir_pipeline(PIPELINE, _pipeline)
    return tvm.compile(note_inner(module), target=target, tir_pipeline=PIPELINE)


def note_inner(module: Any) -> Any:
    """The module with INNER on its kernels where it holds: their arguments need no checks.

    The virtual machine checks what comes into a function, and allocates the rest as the function says. The checks of one
    tensor take some 9 kB of machine code, and concatenations have many: they were a third of the compilation of a DenseNet.
    """
    inner: set[Any] = set()
    other: set[Any] = set()
    for function in module.functions.values():
        if not isinstance(function, relax.Function):
            continue
        made: set[Any] = set()
        for block in function.body.blocks:
            for binding in block.bindings:
                value = getattr(binding, "value", None)
                source = value.tuple_value if isinstance(value, relax.TupleGetItem) else None
                if source in made or _calls_kernel(value):
                    made.add(binding.var)
        for call in traces.calls(function.body):
            kernels = {part for part in (call.op, *call.args) if isinstance(part, tvm.ir.GlobalVar)}
            known = _calls_kernel(call) and all(
                isinstance(field, tvm.ir.GenericConst) or field in made for field in call.args[1].fields
            )
            (inner if known else other).update(kernels)
    functions = {
        name: function.with_attr(INNER, True) if name in inner - other else function
        for name, function in module.functions_items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


def _calls_kernel(value: Any) -> bool:
    return isinstance(value, relax.Call) and getattr(value.op, "name", "") == "relax.call_tir"


def _pipeline() -> tuple[Any, Any, Any]:
    """What TVM's default is made of: passes for all kernels, and those for code of the host and of devices."""
    default, host, device = tirx.get_tir_pipeline("default")

    def lower(module: Any, context: Any) -> Any:
        ours = tirx.transform.Filter(lambda function: COMPUTES_IN in (function.attrs or {}))(module)
        with tvm.transform.PassContext(opt_level=3, disabled_pass=[COMPACTION]):
            lowered = default(ours)
        others = tvm.IRModule(
            {name: function for name, function in module.functions_items() if name not in ours.functions},
            attrs=module.attrs,
        )
        lowered.update(default(others))
        unchecked = tirx.transform.Filter(lambda function: INNER in (function.attrs or {}))(lowered)
        lowered.update(tirx.transform.SkipAssert()(unchecked))
        return lowered

    return tvm.transform.module_pass(lower, opt_level=0), host, device
