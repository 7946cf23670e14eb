"""What a plan is made of, and what the stages that are planned leave to the next ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.recipe import Rest
from enginesmith.converters.core.source import Source

REFERENCE = "ONNX Runtime"
"""What runs a graph where nothing else is said."""


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
class EngineTarget:
    """One engine to build. `target` is canonical."""

    backend: str
    target: str

    @property
    def name(self) -> str:
        return f"{self.backend} {self.target}"


@dataclass
class Draft:
    """A plan in the making. Each stage that is planned adds itself, and says which role its artifact fills from then on.

    `roles` maps a role to a stage's id: `samples`, `model` (the graph that goes on), `wide` (the same in float32),
    `expected` (results that the next ones are held against), `exact` (those in float32, where `expected` is of a lower
    precision), `product` (a graph or an engine that was not compared yet), and whatever stages agree on.
    """

    source: Source
    inputs: tuple[InputSpec, ...]
    """As the user gave them; empty for the model's own."""
    engines: tuple[EngineTarget, ...]
    estimated: str
    """The target that latencies are estimated for."""
    rest: Rest
    """What computes in no integers where a graph has some, for the engines whose graph is planned."""
    machine: str
    """What timings depend on."""
    stages: list[PlannedStage] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """What a stage's results are called in a comparison, where they are not ONNX Runtime's."""
    form: str = ""
    """Ends the ids of stages that the build has in another form too, for other engines; empty for the first."""
    gate: str = ""
    """The stage that must have passed before the next one starts; empty for none."""
    engine: EngineTarget | None = None
    """The one whose branch is planned; None before the branches."""

    def needs(self, *roles: str) -> dict[str, str]:
        """Of these roles the ones that a stage fills, as `PlannedStage` wants them."""
        return {role: self.roles[role] for role in roles if self.roles.get(role)}

    def id(self, stage: str) -> str:
        """Of a stage that each form of the graph has one of."""
        return f"{stage} {self.form}".strip()

    @property
    def after(self) -> tuple[str, ...]:
        return (self.gate,) if self.gate else ()

    @property
    def expected_label(self) -> str:
        """What the results that the next ones are held against are called."""
        return self.labels.get(self.roles["expected"], REFERENCE)

    @property
    def branch(self) -> EngineTarget:
        """The engine whose branch is planned, which there must be."""
        assert self.engine is not None
        return self.engine
