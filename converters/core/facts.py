"""What stages find out, beside the files that they write. Goes into the store and into the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from enginesmith.compat.findings import Attempted, Finding
from enginesmith.converters.core.comparisons import Comparison, Coverage
from enginesmith.converters.core.records import Accuracy, Attempt, TensorInfo, Weights
from enginesmith.converters.core.samples import Pixels
from enginesmith.converters.core.trees import Signature


@dataclass(frozen=True)
class Shortcoming:
    """Why a stage that did its work has failed nonetheless, and what to do."""

    reason: str
    remedy: str = ""


class Doubt(BaseModel):
    """Why no engine that comes of a stage's work counts as verified, though its outputs agree with those before it: the
    stage knows that the comparison can't see what is wrong, or that nothing could be seen."""

    verified: Literal["no", "proves nothing"]
    reason: str


class Facts(BaseModel):
    """What any stage can tell. Stages that find more have facts of a type of their own, which they name as `Stage.facts`."""

    findings: list[Finding] = []
    repairs: list[Attempted] = []
    """Repairs that were made, taken back or found not to apply, in order; `proof.agrees` says which were made."""
    warnings: list[str] = []
    doubt: Doubt | None = None
    note: str = ""
    """A few words for the table, such as the tool that did the work."""
    unreachable: str = ""
    """A host that could not be reached and whose absence shaped the result: it is taken from the store only as long
    as that stays so."""
    interrupted: bool = False
    """The user ended the stage early: what it has found is good for this run, and the next one goes on."""
    source_files: dict[str, str] = {}
    """The user's own files that the stage has read though no option names them, with their SHA-256: sources that were
    executed, and what these opened. A change of one is a change of input."""

    @property
    def shortcoming(self) -> Shortcoming | None:
        """None where the result is good."""
        return None


class GraphFacts(Facts):
    """Of a stage that wrote a graph."""

    nodes: int | None = None
    """None where the graph that it was given is good."""
    ops: dict[str, int] = {}
    """Operator histogram."""
    inputs: list[TensorInfo] = []
    outputs: list[TensorInfo] = []
    attempts: list[Attempt] = []
    """Of the tools that could have written it, in order."""


class ModelFacts(GraphFacts):
    """Of a stage that brought the model in."""

    weights: Weights
    task: str
    """`detection`, `classification` or `tensor`."""
    coverage: Coverage | None = None
    """None where the graph could not be watched."""
    pixels: Pixels = "unknown"
    names: list[str] = []
    """Of the classes, by their numbers; empty where nothing says them."""
    signature: Signature | None = None
    """None for a graph, which has no more than its inputs and outputs, and for a detector's static form."""


class ComparedFacts(Facts):
    """Of a stage whose outputs were held against those of the stage before."""

    comparison: Comparison | None = None

    @property
    def shortcoming(self) -> Shortcoming | None:
        failed = self.comparison is not None and self.comparison.verdict == "fail"
        return Shortcoming(self.comparison.reason) if failed and self.comparison else None


class JudgedFacts(Facts):
    """Of a stage that measured a metric before and after, unless it would have said nothing."""

    accuracy: Accuracy | None = None

    @property
    def shortcoming(self) -> Shortcoming | None:
        """A lower precision that costs more than was allowed has failed, though its graph is there."""
        found = self.accuracy
        if found is None or found.passed:
            return None
        return Shortcoming(
            f"{found.metric} falls from {found.before:.4f} to {found.after:.4f}: {found.loss:.4f} lost, "
            f"{found.budget:.4f} allowed, on {found.data}",
            self.remedy,
        )

    @property
    def remedy(self) -> str:
        """What to do where too much was lost."""
        return "PRECISION=auto finds the fastest mix within the budget; --qat --finetune trains int8 back"
