"""A kernel's work, apart from how it is gone through: what a schedule is found for, and what it is found by."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self, get_type_hints

from pydantic import TypeAdapter

from enginesmith.converters.backends.tvm.kernels.convolution import DirectConvolution
from enginesmith.converters.backends.tvm.kernels.depthwise import DepthwiseConvolution
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, Blocked
from enginesmith.converters.backends.tvm.kernels.products import Product
from enginesmith.converters.backends.tvm.kernels.schedule import (
    DepthwiseSchedule,
    DirectSchedule,
    ProductSchedule,
    Schedule,
    WinogradSchedule,
)
from enginesmith.converters.backends.tvm.kernels.winograd import WinogradConvolution

HEAVY = 4 << 20
"""Bytes."""
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)
KINDS: dict[str, tuple[Any, type[Schedule]]] = {
    "convolution": (DirectConvolution, DirectSchedule),
    "winograd": (WinogradConvolution, WinogradSchedule),
    "depthwise": (DepthwiseConvolution, DepthwiseSchedule),
    "product": (Product, ProductSchedule),
}
"""Kernels that have schedules."""


@dataclass(frozen=True)
class Workload:
    """`kind` is a key of KINDS, `arguments` are those of its kernel's constructor, without the schedule."""

    kind: str
    arguments: tuple[Any, ...]

    def kernel(self, schedule: Schedule | None = None) -> Any:
        """With the default schedule where there is none, or one that doesn't fit this code."""
        kernel = KINDS[self.kind][0](*self.arguments)
        if schedule is None or schedule == kernel.schedule or not schedule.within(kernel.space()):
            return kernel
        return KINDS[self.kind][0](*self.arguments, schedule)

    @cached_property
    def key(self) -> str:
        """The same for workloads that differ only in how wide the room around planes is, if there is any: that depends on
        the neighbours' kernels, and hardly matters for the time."""
        content = [self.kind, getattr(self.kernel(), "gapless", None), _plain(_without_halo(self.arguments))]
        return _hash(content)

    @property
    def label(self) -> str:
        """In a few words: `3x3 convolution, 64 to 64 channels, 56x56`."""
        kernel = KINDS[self.kind][0](*self.arguments)
        if self.kind == "product":
            return f"product, {'x'.join(map(str, kernel.left))} by {'x'.join(map(str, kernel.right))}"
        across = "x".join(map(str, kernel.window.kernel))
        kind = f"{self.kind} F({kernel.size})" if self.kind == "winograd" else self.kind
        channels = f"{kernel.source.channels} to {kernel.target.channels} channels"
        return f"{across} {kind}, {channels}, {kernel.target.height}x{kernel.target.width}"

    @property
    def heavy(self) -> bool:
        """Has it more weights than stay in caches while a network runs?"""
        kernel = KINDS[self.kind][0](*self.arguments)
        if self.kind == "winograd":
            numbers = kernel.points * kernel.source.channels * kernel.target.channels
        elif self.kind == "convolution":
            numbers = kernel.groups * kernel.outputs * kernel.inputs * kernel.window.taps
        else:
            numbers = kernel.left[-1] * kernel.columns if self.kind == "product" and kernel.packed else 0
        return bool(4 * numbers >= HEAVY)

    def dump(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": self.kind, "arguments": _plain(self.arguments)}

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        """From what `dump` gave. Raises ValueError where it is no such thing."""
        if dumped.get("kind") not in KINDS:
            raise ValueError(f"no kind of kernel: {dumped.get('kind')!r}")
        return cls(dumped["kind"], _arguments(dumped["kind"]).validate_python(dumped["arguments"], strict=False))


@dataclass(frozen=True)
class Tuned:
    """What a search has found."""

    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    """By the workload's key."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """By `geometry`: outputs along a side of Winograd's tile, 0 for the direct convolution."""

    def dump(self) -> dict[str, Any]:
        """As JSON values."""
        schedules = {
            key: {"kind": _kind(schedule), **vars(schedule)} for key, schedule in sorted(self.schedules.items())
        }
        return {"schedules": schedules, "sizes": dict(sorted(self.sizes.items()))}

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """From a file that holds what `dump` gave; nothing from None."""
        return cls() if path is None else cls.load(json.loads(path.read_bytes()))

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Self:
        schedules = {
            key: KINDS[values["kind"]][1](**{name: value for name, value in values.items() if name != "kind"})
            for key, values in dumped["schedules"].items()
        }
        return cls(schedules, dict(dumped["sizes"]))


def geometry(source: Blocked, target: Blocked, dilations: tuple[int, int]) -> str:
    """Key of the choice between kernels for a 3x3 convolution with stride 1: it is made before what is fused is known."""
    return _hash(_plain(_without_halo((source, target, dilations))))


def load_schedule(kind: str, values: Mapping[str, Any]) -> Schedule:
    """Raises TypeError for other fields."""
    return KINDS[kind][1](**values)


def _kind(schedule: Schedule) -> str:
    return next(kind for kind, (_, schedules) in KINDS.items() if isinstance(schedule, schedules))


def _without_halo(value: Any) -> Any:
    if isinstance(value, Blocked):
        return value.with_halo(NO_HALO)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(_without_halo, value))
    if hasattr(value, "operands"):  # an expression
        operands = (replace(operand, layout=_without_halo(operand.layout)) for operand in value.operands)
        return replace(value, operands=tuple(operands))
    return value


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as JSON values."""
    return json.loads(json.dumps(_ANYTHING.dump_python(value)))


@cache
def _arguments(kind: str) -> TypeAdapter[Any]:
    constructor = KINDS[kind][0].__init__
    names = [name for name in inspect.signature(constructor).parameters if name not in ("self", "schedule")]
    hints = get_type_hints(constructor)
    given: Any = tuple[tuple(hints[name] for name in names)]  # type: ignore[misc]
    return TypeAdapter(given)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
