"""Ways to run Enginesmith in a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from probe_stage import ProbeOptions

from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.source import Source
from enginesmith.pipeline.job.artifacts import Build
from enginesmith.pipeline.job.builder import Builder
from enginesmith.pipeline.job.events import Event
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.job.plan import Plan
from enginesmith.pipeline.job.store import Store

PROBE = Path(__file__).with_name("probe")
ENGINESMITH = str(Path(sys.executable).with_name("enginesmith"))


@dataclass(frozen=True)
class CommandLine:
    """Runs `enginesmith` in `folder` with the store `store`."""

    folder: Path
    store: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **how: object) -> subprocess.Popen[str]:
        """Leads a process group of its own, as a shell's job does."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [ENGINESMITH, *arguments],
            cwd=self.folder,
            env={**os.environ, "ENGINESMITH_STORE": str(self.store), **self.environment},
            process_group=0,
            # whoever starts the tests in the background may have SIGINT ignored, which is inherited
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            **{**streams, **how},
        )

    def run(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@dataclass(frozen=True)
class Answer:
    """What a command in this process left."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Built:
    """A finished build; `again` are the arguments that repeat it in `shell`."""

    shell: CommandLine
    again: tuple[str, ...]
    done: subprocess.CompletedProcess[str]
    folder: Path

    @property
    def manifest(self) -> Manifest:
        return Manifest.model_validate_json((self.folder / "manifest.json").read_bytes())


@dataclass
class Probes:
    """Builds plans of probe stages in a store of their own; `events` are what it told."""

    store: Store
    folder: Path
    recipe: Recipe = field(default_factory=lambda: Recipe(model="probe"))
    events: list[Event] = field(default_factory=list)

    def plan(self, **codes: str) -> Plan:
        """Stages in a chain, by name: each takes the one before as its input `before`."""
        stages: list[PlannedStage] = []
        for id, code in codes.items():
            needs = {"before": stages[-1].id} if stages else {}
            stages.append(PlannedStage(id, "probe", ProbeOptions(code=code), needs=needs))
        return Plan(Source(kind="onnx", ref="", name="probe"), tuple(stages), stages[-1].id)

    def build(self, **codes: str) -> Build:
        return self.run(*self.plan(**codes).stages)

    def run(self, *stages: PlannedStage) -> Build:
        environment = {"PYTHONPATH": str(PROBE)}
        builder = Builder(self.store, self.recipe, self.folder / "logs", self.events.append, environment)
        return builder.run(Plan(Source(kind="onnx", ref="", name="probe"), stages, stages[-1].id))
