"""What there is to tune in a network: its workloads, and for some convolutions the other kernels that could compute them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from enginesmith.converters.backends.tvm.kernels import choose
from enginesmith.converters.backends.tvm.kernels.layout import Blocked, Window
from enginesmith.converters.backends.tvm.kernels.winograd import WinogradConvolution
from enginesmith.converters.backends.tvm.kernels.workload import Workload, geometry
from enginesmith.converters.backends.tvm.tuning.walk import Walk


@dataclass
class Task:
    """A workload, its walk, and the time of its default schedule in milliseconds, 0 as long as it is unknown."""

    workload: Workload
    walk: Walk
    default: float = 0.0
    measurements: int = 0
    failures: list[str] = field(default_factory=list)
    closed: bool = False
    """Nothing more is tried."""

    @classmethod
    def of(cls, workload: Workload) -> Task:
        kernel = workload.kernel()
        return cls(workload, Walk(kernel.schedule, kernel.space()))

    @property
    def best(self) -> float:
        """Milliseconds with the best schedule so far."""
        return self.default * self.walk.ratio


@dataclass
class Group:
    """Equal operators of a network. `rivals` are the kernels for them, by the size of Winograd's tile for convolutions that
    Winograd could compute, else under 0 alone.
    """

    calls: int
    size: int
    """That the network was built with."""
    rivals: dict[int, Task]
    geometry: str = ""
    """Of convolutions with a choice."""

    @property
    def given(self) -> Task:
        """The kernel that the network was built with."""
        return self.rivals[self.size]

    @property
    def open(self) -> list[Task]:
        return [task for task in self.rivals.values() if not task.closed]

    def worth(self, task: Task) -> float:
        """Time that there is to gain, as far as can be known: less with each proposal in vain."""
        return self.calls * task.best / (1 + task.walk.stale) if task.default else float("inf")


def groups_of(made: Mapping[Workload, int], *, winograd: bool = True) -> list[Group]:
    """From the workloads of a network and how often each occurs."""
    groups: dict[str, Group] = {}
    for workload, calls in made.items():
        if workload.key in groups:
            groups[workload.key].calls += calls
            continue
        rivals = _rivals(workload) if winograd else {}
        if len(rivals) > 1:
            kernel = workload.kernel()
            size = kernel.size if workload.kind == "winograd" else 0
            rivals[size] = workload
            tasks = {size: Task.of(rival) for size, rival in rivals.items()}
            groups[workload.key] = Group(
                calls, size, tasks, geometry(kernel.source, kernel.target, kernel.window.dilations)
            )
        else:
            groups[workload.key] = Group(calls, 0, {0: Task.of(workload)})
    return list(groups.values())


def _rivals(workload: Workload) -> dict[int, Workload]:
    """Kernels for the same convolution by the size of Winograd's tile, with the room around the input that each needs."""
    if workload.kind not in ("convolution", "winograd"):
        return {}
    kernel = workload.kernel()
    window: Window = kernel.window
    source: Blocked = kernel.source
    target: Blocked = kernel.target
    groups = getattr(kernel, "groups", 1)
    fits = WinogradConvolution.fits(kernel.simd, window, groups, source)
    if not fits or min(source.channels, target.channels) < choose.LEAST_CHANNELS:
        return {}
    planes = (source.height, source.width), (target.height, target.width)
    direct = source.with_halo(window.reach(*planes))
    rivals = {0: Workload("convolution", (kernel.simd, window, 1, direct, target, kernel.expression))}
    for size in choose.TRANSFORM_FLOPS:
        wide = source.with_halo(WinogradConvolution.reach(size, window, *planes))
        rivals[size] = Workload("winograd", (kernel.simd, size, window, wide, target, kernel.expression))
    return rivals
