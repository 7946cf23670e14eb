"""What comparisons report: outputs held against those of the stage before, against themselves, and what the samples exercised."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Verdict = Literal["pass", "fail", "not run", "differs", "proves nothing"]
"""`differs`: by more than the tolerance, where a metric judges and no tolerance. `proves nothing`: the outputs agree, and
would whatever the graph computed, such as where they are all NaN."""


class Histogram(BaseModel):
    """Absolute differences, counted in decades: `edges` has one more entry than `counts`."""

    edges: list[float]
    counts: list[int]


class OutputDifference(BaseModel):
    """How far one output tensor is from what was expected. Differences are absolute unless named otherwise."""

    name: str
    max_abs: float
    mean_abs: float
    max_rel: float
    tolerance_abs: float
    """What was allowed, at the element that used most of it, beside `tolerance_rel` of its own magnitude."""
    tolerance_rel: float
    passed: bool
    worst_abs: float = 0.0
    """The difference of that element."""
    allowed_abs: float = 0.0
    """All that was allowed there."""
    rounding_abs: float | None = None
    """What rounding alone does there; None where that isn't known."""
    vacuous: str = ""
    """Why it can't differ on this sample, in words that follow its name."""
    histogram: Histogram | None = None


class DetectionMatch(BaseModel):
    """Detections matched one to one by label and IoU."""

    expected: int
    found: int
    matched: int
    worst_iou: float
    worst_score_difference: float
    passed: bool
    rounding: int | None = None
    """Detections that rounding alone gains or loses; None where that isn't known."""
    ill_posed: bool = False
    """Those are so many that nothing is judged."""

    @property
    def lonely(self) -> int:
        """Detections without a partner, of both sides."""
        return self.expected + self.found - 2 * self.matched


class ClassMatch(BaseModel):
    """Share of rows whose best class (and five best, as sets) agree."""

    top1: float
    top5: float
    passed: bool


class Detections(BaseModel):
    """The best detections on one picture, for drawing: boxes are x1 y1 x2 y2 in pixels of the sample."""

    boxes: list[list[float]]
    scores: list[float]
    labels: list[int]


class SampleComparison(BaseModel):
    """One sample's figures. `picture` names the packaged picture behind it, empty for random data."""

    sample: str
    picture: str = ""
    shapes: dict[str, list[int]] = Field(default_factory=dict)
    outputs: list[OutputDifference] = Field(default_factory=list)
    detections: DetectionMatch | None = None
    classes: ClassMatch | None = None
    passed: bool
    vacuous: str = ""
    """Why it would pass whatever the graph computes: no output has a number that could differ."""
    retyped: list[str] = Field(default_factory=list)
    """Outputs of another dtype than expected, in words. What a repair changed on record isn't among them."""
    drawn: Detections | None = None
    """What the newer side detected, on the picture."""
    drawn_expected: Detections | None = None
    """What the side before it detected."""


class Unexercised(BaseModel):
    """A node of which the samples don't show all. `unseen` is in words: `a negative input`."""

    node: str
    op: str
    unseen: list[str]


class Coverage(BaseModel):
    """What the samples show of a graph's operators: the two sides of a Where, a Clip that clips."""

    conditions: int
    """That the graph's operators have, less those which no input can meet."""
    samples: int
    """That were looked at."""
    searched: int = 0
    """Of them those that a search has found."""
    refused: list[str] = []
    """Samples that the model doesn't take, or whose results mean nothing, each with the reason."""
    unexercised: list[Unexercised] = []

    @property
    def met(self) -> int:
        return self.conditions - sum(len(each.unseen) for each in self.unexercised)

    @property
    def told(self) -> str:
        """In a few words, empty where the samples show all."""
        count = len(self.unexercised)
        return f"not exercised: {count} {'node' if count == 1 else 'nodes'}" if count else ""


class SelfCheck(BaseModel):
    """Answers of one engine held against each other."""

    check: str
    """`repeated`, `interleaved`, `permuted rows`, `equal rows`, `batch sizes`, `lowest level`, `without TF32`."""
    of: str
    """Label of the engine."""
    verdict: Literal["pass", "fail", "by design", "not run"]
    """`by design`: the graph itself answers so in ONNX Runtime, such as one that draws numbers at random."""
    reason: str = ""
    calls: int = 0
    """Of the engine."""
    seconds: float = 0.0
    """Of the processor, with those of what had to be opened for it."""


class Comparison(BaseModel):
    """A stage's outputs held against those of the stage before."""

    expected: str
    """Label of the side before: `torch`, `onnxruntime (export)`, ..."""
    found: str
    verdict: Verdict
    """`fail` too where a check of `consistency` fails."""
    reason: str = ""
    samples: list[SampleComparison] = Field(default_factory=list)
    consistency: list[SelfCheck] = Field(default_factory=list)
    """What the newer side answers held against itself; empty where that wasn't looked at."""
