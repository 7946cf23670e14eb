"""What stages report about their work: the parts of a manifest that converters fill in."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from enginesmith.compat.findings import Attempted, Finding, Proof
from enginesmith.converters.core.engine_layers import Layer

ROUNDING = 1e-9
"""Of a metric: 1 - 0.98 is a little more than 0.02, and is within a budget of 0.02 all the same."""
Verified = Literal["yes", "no", "not run", "proves nothing"]
"""What may be said of an engine: `yes` only where it ran and its outputs agree on samples that would show a difference."""


class TensorInfo(BaseModel):
    """An input or output of a model. `shape` holds an int, or a name for a dynamic dimension."""

    name: str
    dtype: str
    shape: list[int | str]


class Weights(BaseModel):
    """Where a model's weights come from: `pretrained`, `file`, `random` (seeded), or `model` (part of the file given)."""

    origin: Literal["pretrained", "file", "random", "model"]
    detail: str
    sha256: str = ""


class Attempt(BaseModel):
    """One try of one tool at a stage's work; `error` is empty when it succeeded."""

    tool: str
    seconds: float
    error: str = ""


class Latency(BaseModel):
    """Median milliseconds of an engine and of ONNX Runtime on the same graph, run in turn in one process."""

    engine_ms: float
    onnxruntime_ms: float
    runs: int
    threads: int
    load_before: float
    load_after: float
    """One-minute load averages of the machine."""
    shapes: str = ""
    """Of the inputs, where the engine was timed on several."""
    others: list[Latency] = []
    """On the other shapes that were asked for."""

    @property
    def ratio(self) -> float:
        """Engine time over ONNX Runtime's: below 1 the engine is faster."""
        return self.engine_ms / self.onnxruntime_ms

    @property
    def verdict(self) -> str:
        """`faster` or `slower` than ONNX Runtime, by how much, and both medians."""
        shapes = f"{self.shapes} in " if self.shapes else ""
        times = f"{shapes}{milliseconds(self.engine_ms)}, ONNX Runtime {milliseconds(self.onnxruntime_ms)}"
        if self.ratio > 1:
            return f"{times}: {self.ratio:.2g} times slower than ONNX Runtime"
        return f"{times}: {1 / self.ratio:.2g} times faster than ONNX Runtime"


def milliseconds(value: float) -> str:
    """Three digits, and never an exponent."""
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


class Kept(BaseModel):
    """A node that stays in float32, and why. `product`: it is one of the operators that 16 bits are asked for."""

    node: str
    op: str
    reason: str
    product: bool


class Lowering(BaseModel):
    """What the precision stage made of a graph."""

    dtype: str
    nodes_by_dtype: dict[str, int]
    """Nodes by the dtype of their first output, constants left out."""
    products_by_dtype: dict[str, int]
    """Convolutions, products of matrices, recurrent layers and tables of weights alone; no products of masks."""
    casts: int
    weights_before: int
    weights_after: int
    """Bytes of the initializers."""
    kept: list[Kept] = []
    """Only nodes that something forbids; those that lie between float32 nodes are not listed."""
    findings: list[Finding] = []


class Accuracy(BaseModel):
    """A metric of the graph before and after its precision was lowered, on the same examples. Higher is better."""

    metric: str
    """`top-1`, `mAP@0.5`, `cosine`, or the user's `file.py:function`."""
    data: str
    """What it was measured on, in a few words."""
    examples: int
    weak: bool
    """No labels: agreement with the float32 graph's own answers, which says less than a real metric."""
    made_up: bool = False
    """Agreement on made-up numbers, which says nothing of accuracy."""
    before: float
    after: float
    budget: float | None = None
    """Largest loss allowed, where the user gave one."""

    @property
    def loss(self) -> float:
        """In units of the metric."""
        return self.before - self.after

    @property
    def passed(self) -> bool:
        return self.budget is None or self.loss <= self.budget + ROUNDING

    @property
    def verdict(self) -> str:
        """Both figures and the change, in one line."""
        figures = f"{self.metric} {self.before:.4f} to {self.after:.4f} ({-self.loss:+.4f}) on {self.data}"
        return f"no accuracy: {figures}, which is made up" if self.made_up else figures


class LayerLoss(BaseModel):
    """What the metric loses when one layer alone is lowered."""

    node: str
    op: str
    precision: str
    """`int8`, `fp16`: what the layer was lowered to."""
    loss: float
    """In units of the metric, on the examples of the sensitivity run."""
    error: float = 0.0
    """Of the outputs, relative to the float32 graph's: moves where a metric on a few examples stands still."""
    saved: float | None = None
    """Estimated milliseconds that lowering it saves."""


class SensitivityRecord(BaseModel):
    """What every layer alone loses in a lower precision."""

    precision: str
    """`int8`, `fp16`: what each one was lowered to."""
    metric: str
    data: str
    examples: int
    weak: bool
    """No labels: agreement with the float32 graph's own answers."""
    baseline: float
    """The metric of the float32 graph on these examples."""
    target: str
    """What `saved` is estimated for."""
    layers: list[LayerLoss]
    """Most harmful first."""
    left: list[str]
    """Layers that no time was left for."""
    barred: dict[str, str]
    """Layers that can't be lowered, and why."""


class Candidate(BaseModel):
    """A mix of precisions that a search has looked at."""

    name: str
    products: dict[str, int]
    """Number of products by dtype."""
    size: int
    """Bytes of the weights."""
    milliseconds: float | None = None
    """Latency on the target; `measured` or else estimated."""
    measured: bool = False
    accuracy: float
    loss: float
    within: bool
    """Within the budget."""
    chosen: bool = False


class Search(BaseModel):
    """How a mix of precisions was found."""

    budget: float
    """Largest loss allowed, in units of the metric."""
    layers: list[LayerLoss] = []
    """Most harmful first, of each precision that was ranked."""
    reference: Candidate | None = None
    """float32, which loses nothing and is no candidate."""
    candidates: list[Candidate] = []
    """In the order in which they were looked at."""
    precisions: dict[str, str] = {}
    """Product to its precision in the chosen mix."""
    reasons: dict[str, str] = {}
    """Node in higher precision than the lowest one to why."""
    options: str = ""
    """How int8 was calibrated in the chosen mix, in a few words."""
    examples: int = 0
    """Of the sensitivity run."""
    stopped: str = ""
    """Why it ended early, such as `after 600 s`; empty when it came to its end."""


class TunedKernel(BaseModel):
    """A kernel that was searched for better schedules. `kernel` says what it computes, `schedule` what was found."""

    kernel: str
    calls: int
    """In the network."""
    measurements: int
    failed: int
    default_ms: float
    """Of one call."""
    best_ms: float
    schedule: dict[str, int | bool] = {}
    """Empty where the default is the best."""


class Tuning(BaseModel):
    """A search for better schedules of a module's kernels."""

    database: str
    seconds: float
    threads: int
    machines: int
    measurements: int
    """Of this run."""
    remembered: int
    """Measurements of earlier runs that it went on from."""
    failed: int
    failure: str = ""
    """The last one."""
    kernels: list[TunedKernel] = []
    """Those that take most of the time first."""
    predicted: float
    """Share of the kernels' time that the schedules take off, from their own measurements."""
    default_ms: float | None = None
    """Of the whole module, timed in turn with the other one; None where nothing better was found."""
    tuned_ms: float | None = None
    kept: bool
    """The module got faster by it; otherwise it is built with the default schedules."""
    stopped: str = ""
    """Why it ended early; empty when nothing was left to try."""


class EngineInfo(BaseModel):
    """What a compile stage built."""

    backend: str
    target: str
    file: str
    """File name within the stage's artifact."""
    size: int
    """Bytes."""
    layers: int
    layers_by_dtype: dict[str, int] = Field(default_factory=dict)
    kernels: list[Layer] = Field(default_factory=list)
    """In the order in which they run; empty where the backend doesn't say."""
    products_asked: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Of the graph that it was built from: kind of product to the number by dtype."""
    products_built: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Of the parsed network; empty where the backend doesn't say."""
    details: dict[str, str] = Field(default_factory=dict)


class RepairReport(BaseModel):
    """What was done to a graph: `attempts` in order, the whole graph's `proof`, and the findings that are `left`."""

    attempts: list[Attempted] = []
    proof: Proof | None = None
    left: list[Finding] = []

    @property
    def made(self) -> list[Attempted]:
        return [attempt for attempt in self.attempts if attempt.made]

    @property
    def refuted(self) -> bool:
        """Did the repaired graph, as a whole, compute something else, or not run?"""
        return self.proof is not None and self.proof.ran and not self.proof.agrees

    @property
    def mended(self) -> bool:
        """Is no error left, and does the repaired graph compute what the given one did?"""
        proved = self.proof is None or self.proof.agrees
        return proved and not any(finding.severity == "error" for finding in self.left)
