"""The builder: takes a plan, and each stage's result from the store or from a worker."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from threading import RLock

from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.job.artifacts import Artifacts, Build
from enginesmith.pipeline.job.events import Event, Kind, Listener
from enginesmith.pipeline.job.fates import missing, waiting_record
from enginesmith.pipeline.job.plan import Plan
from enginesmith.pipeline.job.schedule import later, schedule
from enginesmith.pipeline.job.store import Store
from enginesmith.pipeline.job.templates import Templates

TEMPLATES = "templates.log"
"""File in the folder of logs, for what the processes say that workers are forked from."""


@dataclass
class Builder:
    """Runs plans. `logs` is the folder for the tools' own output; `environment` goes to all workers. `listener` hears one
    event after the other, from several threads."""

    store: Store
    recipe: Recipe
    logs: Path
    listener: Listener
    environment: dict[str, str] = field(default_factory=dict)
    _stopping: Flag = field(default_factory=Flag, init=False)

    def run(self, plan: Plan) -> Build:
        """Raises UserError when a stage finds the request to be bad; every other failure is a record."""
        build = Build([waiting_record(planned) for planned in plan.stages])
        records = {record.id: record for record in build.records}
        left = {planned.id: planned for planned in plan.stages}
        started = time.monotonic()
        one_by_one = RLock()  # Ctrl-C may come while it is held, and has something to tell
        self._stopping.clear()

        def tell(kind: Kind, stage: str, text: str = "", fraction: float | None = None) -> None:
            with one_by_one:
                self.listener(
                    Event(event=kind, stage=stage, text=text, fraction=fraction, seconds=time.monotonic() - started)
                )

        with (
            self.store.workspace() as workspace,
            Templates(plan.stages, self.environment, self.logs / TEMPLATES) as templates,
        ):
            artifacts = Artifacts(
                store=self.store,
                recipe=self.recipe,
                logs=self.logs,
                environment=self.environment,
                plan=plan,
                build=build,
                workspace=workspace,
                tell=tell,
                start=lambda planned: templates.serve(planned, later(plan.stages, planned)),
                stopping=self._stopping,
            )

            def work(planned: PlannedStage) -> None:
                record = records[planned.id]
                if reason := missing(planned, records, keep_going=self.recipe.keep_going):
                    record.error = reason
                    tell("skipped", planned.id, reason)
                elif planned.blocked:
                    record.status, record.error = "not run", planned.blocked
                    tell("not run", planned.id, planned.blocked)
                else:
                    artifacts.make(planned)
                del left[planned.id]
                templates.keep(list(left.values()))

            def stop() -> None:
                self._stopping.set()
                templates.close()

            schedule(plan.stages, self.recipe.jobs, work, stop)
        return build


def worker_environment(recipe: Recipe) -> dict[str, str]:
    """What all workers get: the number of threads, for every runtime that reads it from the environment; and that PyTorch's
    sleep soon after an operator, unless the user has it otherwise. Awake they take a core for nothing while a model is traced,
    and on a busy machine each waits for the other; asleep at once they are woken for each group of a convolution.
    """
    threads = str(recipe.threads or len(os.sched_getaffinity(0)))
    environment = {"OMP_NUM_THREADS": threads, "TVM_NUM_THREADS": threads}
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        # turns of a loop: microseconds, where libgomp itself waits for milliseconds
        environment["GOMP_SPINCOUNT"] = "1000"
    return environment
