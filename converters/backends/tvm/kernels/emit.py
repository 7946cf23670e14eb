"""The words of TVM's TIR builder that kernels are written in: vectors of float32, tasks, and whole functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tvm import s_tir, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

OPAQUE = 8
"""TVM's kOpaque: a kernel that no pass may fuse with another."""
SERIAL_WORK = 100_000
"""Multiplications or moved numbers below which other threads aren't worth waking: some 2 us, the price of a launch."""

MOST_CLAIMS = 512
"""Of one kernel: of more tasks a thread takes several at a time, since a claim costs some 20 cycles."""

CLAIM = """
define linkonce_odr i8 @enginesmith_claim(ptr %flag) alwaysinline {
  %before = atomicrmw xchg ptr %flag, i8 1 monotonic
  ret i8 %before
}
"""
"""LLVM's own language, since TIR has no atomic operations on a CPU: sets a byte, returns what it was."""


@dataclass(frozen=True)
class Simd:
    """Vector registers of float32. One lane makes scalars. `fused`: there is an instruction for a product with a sum."""

    lanes: int
    registers: int
    fused: bool = True

    @property
    def dtype(self) -> str:
        return f"float32x{self.lanes}" if self.lanes > 1 else "float32"

    def load(self, buffer: Any, *index: Any) -> Any:
        """The `lanes` numbers from `index` on, along the last axis."""
        return buffer[self._span(index)]

    def store(self, buffer: Any, value: Any, *index: Any) -> None:
        T.buffer_store(buffer, value, list(self._span(index)))

    def splat(self, value: Any) -> Any:
        """A vector of equal numbers, from a Python number or a scalar expression."""
        scalar = T.float32(value) if isinstance(value, int | float) else value
        return T.Broadcast(scalar, self.lanes) if self.lanes > 1 else scalar

    def _span(self, index: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*index[:-1], T.Ramp(index[-1], 1, self.lanes)) if self.lanes > 1 else index

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once where the processor can do so: where not, LLVM would call a function for each number."""
        if not self.fused:
            return a * b + c
        return T.call_llvm_pure_intrin(self.dtype, "llvm.fma", a, b, c)

    def zeros(self, count: int) -> Any:
        """`count` registers of zeros, as a buffer that LLVM promotes to registers."""
        registers = T.alloc_buffer((count * self.lanes,), "float32", scope="local")
        for index in range(count):
            self.store(registers, self.splat(0.0), index * self.lanes)
        return registers

    def total(self, registers: Any, first: int, stride: int, count: int) -> Any:
        """The sum of `count` registers, `stride` apart."""
        value = self.load(registers, first * self.lanes)
        for part in range(1, count):
            value = value + self.load(registers, (first + part * stride) * self.lanes)
        return value

    def widened(self, narrow: Simd, value: Any) -> Any:
        """A vector of `narrow`'s, with zeros in the lanes that it lacks."""
        if narrow.lanes == self.lanes:
            return value
        zeros = [narrow.splat(0.0)] * (self.lanes // narrow.lanes - 1)
        return T.Shuffle([value, *zeros], list(range(self.lanes)))

    def narrowed(self, lanes: int) -> Simd:
        return replace(self, lanes=lanes)


def argument(name: str, shape: Sequence[int], dtype: str = "float32") -> Any:
    """The next parameter of the function that is being built: a tensor."""
    return T.arg(name, T.buffer(tuple(shape), dtype))


@contextmanager
def tasks(count: int, work: int) -> Iterator[Any]:
    """A loop over `count` independent tasks: spread over the cores if `work` numbers are worth it.

    TVM gives each of its threads one range of tasks. Here a thread that is done with its own goes on to those that no
    thread has begun, so that one whose core is taken by another process holds up a single run of tasks.
    """
    if work <= SERIAL_WORK or count == 1:
        with T.serial(count) as task:
            yield task
        return
    size = -(-count // MOST_CLAIMS)
    runs = -(-count // size)
    claimed = T.alloc_buffer((runs,), "uint8")
    with T.serial(runs) as run:
        T.buffer_store(claimed, T.uint8(0), [run])
    with ExitStack() as inside:
        inside.enter_context(T.attr(0, "pragma_import_llvm", CLAIM))
        first = inside.enter_context(T.parallel(runs))
        # The first round of a thread goes on until all runs are claimed; the rounds after it find nothing.
        _enter_if(inside, claimed[first] == T.uint8(0))
        run = T.Bind((first + inside.enter_context(T.serial(runs))) % runs)
        _enter_if(inside, claimed[run] == T.uint8(0))
        before = T.call_extern("uint8", "enginesmith_claim", T.address_of(claimed[run]))
        _enter_if(inside, before == T.uint8(0))
        if size == 1:
            yield run
        else:
            yield run * size + inside.enter_context(T.serial(T.min(size, count - run * size)))


def _enter_if(inside: ExitStack, condition: Any) -> None:
    inside.enter_context(T.If(condition))
    inside.enter_context(T.Then())


def transposed(rows: Sequence[Any]) -> list[Any]:
    """The columns of as many vectors as each has lanes: in every round, halves of neighbours change places."""
    size, step = len(rows), 1
    rows = [T.Bind(row) for row in rows]
    while step < size:
        first = [lane + (size - step if lane & step else 0) for lane in range(size)]
        second = [lane + (size if lane & step else step) for lane in range(size)]
        columns = list(rows)
        for index in (index for index in range(size) if not index & step):
            pair = [rows[index], rows[index + step]]
            columns[index] = T.Bind(tirx.Shuffle(pair, first))
            columns[index + step] = T.Bind(tirx.Shuffle(pair, second))
        rows, step = columns, 2 * step
    return rows


def when(condition: Any, body: Callable[[], None]) -> None:
    """Run `body` if `condition` holds. A Python bool is decided here, None counts as true."""
    if condition is None or condition is True:
        body()
    elif condition is not False:
        with T.If(condition), T.Then():
            body()


COMPUTES_IN = "computes_in"
"""The attribute of a function of ours that says what its products are computed in."""


def function(name: str, body: Callable[[], None], computes_in: str = "float32") -> Any:
    """The PrimFunc that `body` builds, closed to TVM's fusion and schedules."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(name)
        T.func_attr({"tirx.noalias": True, "op_pattern": OPAQUE, "tirx.is_scheduled": True, COMPUTES_IN: computes_in})
        body()
    built = builder.get()
    # Passes of Relax look for the root block that every scheduled function has.
    root = s_tir.SBlock([], [], [], "root", built.body)
    return built.with_body(s_tir.SBlockRealize([], tirx.const(True, "bool"), root))
