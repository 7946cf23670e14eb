"""What is known of an engine layer by layer: what each computes, how long it takes, and what ONNX Runtime takes for the same.

Times are medians of several runs, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

LAYERS = "layers.json"
CLEAR = 0.002
"""Share of an inference from which a difference between two layers is worth telling."""
NAMED = 3
"""Of those where ONNX Runtime is ahead."""
LONGEST = 40
"""Characters of a group's operators in its name."""


class Layer(BaseModel):
    """One call of a kernel in a compiled module."""

    function: str
    """Name of the compiled function."""
    kernel: str
    """Kind of kernel, such as `winograd4`; the operators that it computes, where it is TVM's own lowering."""
    ours: bool
    nodes: list[str]
    """ONNX nodes that it computes, or takes a part in, by the names of their first outputs."""
    ops: list[str]
    """Their operators."""
    shape: list[int]
    """Of the first result, as it lies in memory: blocked planes have five axes."""
    flops: int
    """Of convolutions and matrix products, as they are defined: Winograd's needs fewer. 0 for other operators."""
    bytes: int
    """Sizes of all inputs, weights and results."""


class Layers(BaseModel):
    """What lies beside an engine whose kernels are known: in `layers.json`, in the order in which they run."""

    layers: list[Layer]

    def write(self, engine: Path) -> None:
        """Write the file beside an engine."""
        engine.with_name(LAYERS).write_text(self.model_dump_json(indent=1), encoding="utf-8")

    @classmethod
    def beside(cls, engine: Path) -> Layers | None:
        """What lies beside an engine, None where nothing does."""
        path = engine.with_name(LAYERS)
        return cls.model_validate_json(path.read_bytes()) if path.exists() else None


class Rates(BaseModel):
    """What this machine reaches with kernels that do nothing else, on one thread and on all that the engine had."""

    gflops: float
    """Multiplications and additions of float32, fused, in 1e9 per second."""
    gflops_one: float
    gbytes: float
    """Numbers that are read and written in memory beyond the caches, in 1e9 bytes per second."""
    gbytes_one: float


class Group(BaseModel):
    """Layers of the engine, and the kernels of ONNX Runtime that compute the same nodes of the graph."""

    layers: list[int]
    """By their numbers, from 0 on."""
    kernels: list[str]
    """ONNX Runtime's, such as `FusedConv`; empty where it has none for these nodes."""
    nodes: list[str]
    """ONNX nodes, by the names of their first outputs."""
    ops: list[str]
    engine_ms: float
    onnxruntime_ms: float

    @property
    def lost_ms(self) -> float:
        """What the engine takes longer than ONNX Runtime; below 0 it is faster."""
        return self.engine_ms - self.onnxruntime_ms

    @property
    def name(self) -> str:
        """The operators and the last node, in a few words."""
        ops = "+".join(dict.fromkeys(self.ops))
        return (
            f"{ops[:LONGEST]}{'…' * (len(ops) > LONGEST)} {self.nodes[-1]}"
            if self.nodes
            else "nodes that only the engine's graph has"
        )


class Profile(BaseModel):
    """An engine and ONNX Runtime on the same graph, layer by layer."""

    threads: int
    runs: int
    layers_ms: list[float]
    """By the number of the layer; 0 for one that only gives its input another shape."""
    engine_ms: float
    """A whole inference of these runs. What isn't in a layer is spent between them."""
    onnxruntime_ms: float
    """Likewise."""
    onnxruntime_kernels_ms: float
    """In its kernels alone."""
    groups: list[Group]
    """Together they hold every layer, and every kernel of ONNX Runtime."""
    before: Rates
    after: Rates

    @property
    def rates(self) -> Rates:
        """The better ones of those before and after: what the machine can do when nothing else runs."""
        best = {name: max(getattr(self.before, name), getattr(self.after, name)) for name in Rates.model_fields}
        return Rates(**best)


class Behind(BaseModel):
    """Groups of equal kernels in which ONNX Runtime is ahead."""

    first: Group
    """The one that loses most."""
    count: int
    lost_ms: float
    """All of them together."""


def behind(profile: Profile, layers: Sequence[Layer]) -> list[Behind]:
    """Where ONNX Runtime is ahead by more than what clocks differ in, the largest loss first; equal kernels as one."""
    equal: dict[tuple[str, ...], list[Group]] = {}
    for group in profile.groups:
        equal.setdefault(tuple(layers[number].function for number in group.layers), []).append(group)
    found = []
    for groups in equal.values():
        lost, reference = sum(group.lost_ms for group in groups), sum(group.onnxruntime_ms for group in groups)
        if lost > max(CLEAR * profile.engine_ms, reference / 20):
            first = max(groups, key=lambda group: group.lost_ms)
            found.append(Behind(first=first, count=len(groups), lost_ms=lost))
    return sorted(found, key=lambda each: -each.lost_ms)


def told(found: Sequence[Behind]) -> str:
    """Them in one line, the first few by name; empty for none."""
    if not found:
        return ""
    parts = [
        f"{each.first.name}{f' and {each.count - 1} like it' if each.count > 1 else ''} (by {each.lost_ms:.2g} ms)"
        for each in found[:NAMED]
    ]
    return f"ONNX Runtime is ahead in {', '.join(parts)}" + (
        f", and {len(found) - NAMED} more" if found[NAMED:] else ""
    )
