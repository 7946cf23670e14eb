"""An operator that has a kernel of its own: what it reads, and how the kernel is made once the layouts are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from enginesmith.converters.backends.tvm.kernels.emit import Simd
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node
from enginesmith.converters.backends.tvm.kernels.int8.dots import WIDENED, Dot
from enginesmith.converters.backends.tvm.kernels.layout import Halo, Planes
from enginesmith.converters.backends.tvm.kernels.workload import Tuned, Workload


class Kernel(Protocol):
    """A kernel with all its sizes."""

    def kernel(self, name: str) -> Any:
        """The PrimFunc: parameters are the sources, the packed weights if any, operands of the expression, the result."""


@runtime_checkable
class WeightedKernel(Kernel, Protocol):
    """A kernel that takes weights, after its sources."""

    def pack(self, weights: NDArray[Any]) -> NDArray[Any]:
        """ONNX's weights in the order in which the kernel reads them."""


class StridedKernel(Kernel, Protocol):
    """A kernel that reads memories in any order that it can follow."""

    @property
    def readable(self) -> bool:
        """Can it read all of them as they lie?"""


@dataclass(frozen=True)
class Settings:
    """What the pass may choose from."""

    simd: Simd
    winograd: bool = True
    dot: Dot = WIDENED
    tuned: Tuned = field(default_factory=Tuned)
    """Schedules that are taken in place of the defaults."""
    made: Counter[Workload] = field(default_factory=Counter, compare=False)
    """What kernels were made for, and how often."""

    def kernel(self, kind: str, *arguments: Any) -> Any:
        """A kernel that has schedules; `arguments` are those of its constructor."""
        workload = Workload(kind, arguments)
        self.made[workload] += 1
        return workload.kernel(self.tuned.schedules.get(workload.key))


@dataclass
class Anchor:
    """An operator with a kernel.

    `shape` is the result's as planes (N, C, H, W), None where the result lies in rows as ONNX has it. `sources` are the
    activations that it reads, with the block of their layout (0: in rows) and how far it reads beyond their planes.
    `make` takes the layouts of the sources, that of the result and the expression.

    A kernel is `linear` where it may read integers in the place of sources that are views of them, all of one scale: its
    result is then multiplied by that. `scale` is a constant that the result of integers is multiplied by.
    """

    label: str
    shape: Planes | None
    sources: list[tuple[Any, int, Halo]]
    make: Callable[[list[Any], Any, Expression], Any]
    weights: NDArray[Any] | None = None
    flops: int = 0
    inner: list[Node] = field(default_factory=list)
    """Operators before this one that its kernel computes too; nothing else uses their results."""
    results: tuple[tuple[tuple[int, ...], str], ...] = ()
    """Shapes and dtypes, where the result isn't one float32 tensor."""
    fuses: bool = True
    """Does the kernel apply an expression?"""
    strided: bool = False
    """Does the kernel read in any order? Then `make` takes the memories of sources and operands instead of the layouts, and
    gives a StridedKernel, or None where these can't be read; copies in order always can."""
    linear: bool = False
    scale: Any = None


Match = Callable[[Graph, Node, Settings, Callable[[Any], bool]], Anchor | None]
"""Makes the anchor of a node, None where it is none of ours. The last argument tells what lies in blocked planes already.

Raises NotCovered with the reason where the operator has kernels, but none for these attributes.
"""
