"""What a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from enginesmith.converters.core.stage import Options
from enginesmith.converters.precision.mix import STAND_IN_LABEL
from enginesmith.converters.stages.compare import CompareOptions
from enginesmith.pipeline.job.source import Source

FP32 = "fp32"
AUTO = "auto"


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan. `blocked` says why this machine can't run it; it is then recorded as not run."""

    id: str
    stage: str
    options: Options
    needs: dict[str, str] = field(default_factory=dict)
    """Role to the id of the stage that fills it."""
    after: tuple[str, ...] = ()
    """Stages that must have passed, though nothing is taken from them."""
    backend: str = ""
    target: str = ""
    blocked: str = ""


@dataclass(frozen=True)
class Plan:
    """Stages in an order in which each comes after all that it needs."""

    source: Source
    stages: tuple[PlannedStage, ...]
    model: str
    """Id of the stage whose graph the engines are built from."""
    warnings: tuple[str, ...] = ()
    """What the user should know that no stage will say."""


def comparison(
    precision: str,
    id: str,
    candidate: str,
    samples: str,
    expected: str,
    backend: str = "onnxruntime",
    target: str = "",
    judged_by: str = "",
    wide: str = "",
) -> PlannedStage:
    """The stage that holds `candidate`'s outputs against those of the stage `expected`; `wide` has those in float32, where
    `expected` is of a lower precision.
    """
    tolerance = "int8" if precision == AUTO else precision
    return PlannedStage(
        id,
        "compare",
        CompareOptions(backend=backend, precision=tolerance, expected=label(expected), judged_by=judged_by),
        needs={"candidate": candidate, "samples": samples, "expected": expected} | ({"wide": wide} if wide else {}),
        backend="" if backend == "onnxruntime" else backend,
        target=target,
    )


def label(stage: str) -> str:
    """What a stage's results are called in a comparison."""
    labels = {"export": "PyTorch", "import": "the graph as given", "compare precision": STAND_IN_LABEL}
    return labels.get(stage, "ONNX Runtime")
