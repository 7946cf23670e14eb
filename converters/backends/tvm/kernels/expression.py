"""What happens to a kernel's result before it is stored: a few elementwise steps, known by value so that equal kernels are
built once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import vector_math
from enginesmith.converters.backends.tvm.kernels.emit import Simd
from enginesmith.converters.backends.tvm.kernels.integers import Integers
from enginesmith.converters.backends.tvm.kernels.layout import Blocked


@dataclass(frozen=True)
class Operand:
    """Another tensor that takes part.

    `tensor` has the result's shape, `pooled` one number per image and channel, `channel` is a constant with one number
    per channel (or per column, for the result of a matrix product), padded to whole blocks, `number` a constant alone,
    `view` anything that can be broadcast to the result.
    """

    kind: Literal["tensor", "pooled", "channel", "number", "view"]
    layout: Blocked | None = None
    """Of `tensor` and `pooled` where the result is blocked."""
    integers: Integers | None = None
    """What a `tensor` lies in rows as, if not as float32."""

    @property
    def dtype(self) -> str:
        return self.integers.dtype if self.integers else "float32"


@dataclass(frozen=True)
class Step:
    """Arguments are numbers of values: 0 is the kernel's own result, then come the operands, then the earlier steps."""

    op: str
    arguments: tuple[int, ...]
    constants: tuple[float, ...] = ()


@dataclass(frozen=True)
class Expression:
    """The last step is what is stored; without steps it is the kernel's own result."""

    operands: tuple[Operand, ...] = ()
    steps: tuple[Step, ...] = ()
    integers: Integers | None = None
    """What the result is rounded to before it is stored, if it isn't stored as float32."""

    @property
    def heavy(self) -> bool:
        """Is it long enough to be written once, in a loop, and not once for every vector of a tile?"""
        return any(step.op in HEAVY for step in self.steps)

    def apply(self, simd: Simd, value: Any, load: Callable[[int], Any]) -> Any:
        """Emit the steps. `load` gives the vector of an operand, by its position."""
        values = [value, *(T.Bind(load(index)) for index in range(len(self.operands)))]
        for step in self.steps:
            arguments = [values[argument] for argument in step.arguments]
            if step.op in HEAVY and step.arguments[0]:
                arguments[0] = _through_memory(simd, arguments[0])
            values.append(T.Bind(STEPS[step.op](simd, arguments, step.constants)))
        result = values[-1] if self.steps else value
        return self.integers.from_numbers(simd, result) if self.integers else result

    @property
    def dtype(self) -> str:
        return self.integers.dtype if self.integers else "float32"


def _through_memory(simd: Simd, value: Any) -> Any:
    """The same vector, of unknown origin to TVM's simplifier: else a few long steps in a row take it minutes. LLVM keeps it
    in a register.
    """
    kept = T.alloc_buffer((simd.lanes,), "float32", scope="local")
    simd.store(kept, value, 0)
    return T.Bind(simd.load(kept, 0))


HEAVY = ("exp", "log", "gelu_tanh", "sigmoid", "silu", "tanh", "erf", "gelu")
Emit = Callable[[Simd, Sequence[Any], Sequence[float]], Any]


def _unary(emit: Callable[[Simd, Any], Any]) -> Emit:
    return lambda simd, v, c: emit(simd, v[0])


STEPS: dict[str, Emit] = {
    "add": lambda simd, v, c: v[0] + v[1],
    "subtract": lambda simd, v, c: v[0] - v[1],
    "multiply": lambda simd, v, c: v[0] * v[1],
    "divide": lambda simd, v, c: v[0] / v[1],
    "maximum": lambda simd, v, c: vector_math.extreme(T.max, v[0], v[1]),
    "minimum": lambda simd, v, c: vector_math.extreme(T.min, v[0], v[1]),
    # with a number in the second argument's place, or in the first's
    "add_number": lambda simd, v, c: v[0] + simd.splat(c[0]),
    "multiply_number": lambda simd, v, c: v[0] * simd.splat(c[0]),
    "subtract_from_number": lambda simd, v, c: simd.splat(c[0]) - v[0],
    "divide_by_number": lambda simd, v, c: v[0] / simd.splat(c[0]),
    "divide_number": lambda simd, v, c: simd.splat(c[0]) / v[0],
    "clamp": lambda simd, v, c: vector_math.clamp(simd, v[0], c[0], c[1]),
    "leaky_relu": lambda simd, v, c: T.max(simd.splat(0.0), v[0]) + T.min(simd.splat(0.0), v[0]) * simd.splat(c[0]),
    "negative": lambda simd, v, c: v[0] * simd.splat(-1.0),  # 0 - 0 isn't -0
    "abs": lambda simd, v, c: T.max(v[0], simd.splat(0.0) - v[0]),
    "square": lambda simd, v, c: v[0] * v[0],
    "sqrt": lambda simd, v, c: T.call_llvm_pure_intrin(simd.dtype, "llvm.sqrt", v[0]),
    "reciprocal_sqrt": lambda simd, v, c: simd.splat(1.0) / T.call_llvm_pure_intrin(simd.dtype, "llvm.sqrt", v[0]),
    "cube": lambda simd, v, c: v[0] * v[0] * v[0],
    "floor": lambda simd, v, c: T.call_llvm_pure_intrin(simd.dtype, "llvm.floor", v[0]),
    "ceil": lambda simd, v, c: T.call_llvm_pure_intrin(simd.dtype, "llvm.ceil", v[0]),
    "prelu": lambda simd, v, c: T.max(simd.splat(0.0), v[0]) + T.min(simd.splat(0.0), v[0]) * v[1],
    # 1 where it holds, 0 where not
    "greater": lambda simd, v, c: vector_math.greater(simd, v[0], v[1]),
    "less": lambda simd, v, c: vector_math.greater(simd, v[1], v[0]),
    "greater_number": lambda simd, v, c: vector_math.greater(simd, v[0], simd.splat(c[0])),
    "less_number": lambda simd, v, c: vector_math.greater(simd, simd.splat(c[0]), v[0]),
    "where": lambda simd, v, c: vector_math.where(simd, v[0], v[1], v[2]),
    "log": _unary(vector_math.log),
    "gelu_tanh": _unary(vector_math.gelu_tanh),
    "exp": _unary(vector_math.exp),
    "sigmoid": _unary(vector_math.sigmoid),
    "silu": _unary(vector_math.silu),
    "tanh": _unary(vector_math.tanh),
    "erf": _unary(vector_math.erf),
    "gelu": _unary(vector_math.gelu),
}
"""Steps by name, given vectors and constants."""
