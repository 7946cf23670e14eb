"""The stages of all cells, each once: what two cells would do alike is one task of both."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.hashing import hash_value
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.stages.registry import load_stage
from enginesmith.pipeline.farm.cells import Cell
from enginesmith.pipeline.farm.costs import Costs
from enginesmith.pipeline.farm.queue import Demand, Job


@dataclass
class Task:
    """A stage, and the cells that wait for it, each with its index and the stage in its own plan: the first one leads."""

    job: Job
    owners: list[tuple[int, PlannedStage]] = field(default_factory=list)

    @property
    def lead(self) -> tuple[int, PlannedStage]:
        return self.owners[0]


def make_tasks(cells: Sequence[Cell], costs: Costs, resources: Container[str] = ()) -> dict[str, Task]:
    """By id, each after all that it comes after. `resources` are targets that some nodes have: what runs an engine for one
    of them wants such a node. An id says what the stage will do, and to what: it is known before
    anything has run, which a key, made of the content of what went before, is not."""
    tasks: dict[str, Task] = {}
    for index, cell in enumerate(cells):
        ids: dict[str, str] = {}
        for planned in cell.plan.stages:
            before = [ids[each] for each in (*planned.needs.values(), *planned.after)]
            id = ids[planned.id] = hash_value(
                {
                    "stage": planned.stage,
                    "options": planned.options.model_dump(mode="json"),
                    "needs": {role: ids[need] for role, need in planned.needs.items()},
                    "after": [ids[gate] for gate in planned.after],
                    "backend": planned.backend,
                    "blocked": planned.blocked,
                    "keep going": cell.recipe.keep_going,
                }
            )
            if id not in tasks:
                cost = costs.of(id, planned)
                demand = _demand(planned, cost.memory, resources)
                tasks[id] = Task(Job(id, tuple(dict.fromkeys(before)), demand, cost.seconds, cell.priority))
            task = tasks[id]
            task.job.priority = max(task.job.priority, cell.priority)
            if (index, planned.id) not in [(owner, stage.id) for owner, stage in task.owners]:
                task.owners.append((index, planned))
    for task in tasks.values():  # the most patient leads: its limits are those of all
        task.owners.sort(key=lambda owner: -cells[owner[0]].recipe.timeout)
    return tasks


def placed(cell: Cell, resources: Container[str]) -> Cell:
    """The cell on a cluster, where a node has what this machine lacks."""
    stages = tuple(
        replace(each, blocked="") if each.blocked and each.target in resources else each for each in cell.plan.stages
    )
    return replace(cell, plan=replace(cell.plan, stages=stages))


def _demand(planned: PlannedStage, memory: int, resources: Container[str]) -> Demand:
    """A blocked stage runs nowhere, and takes nothing."""
    if planned.blocked:
        return Demand(cores=0)
    backend = get_backend(planned.backend) if planned.backend else None
    kind = load_stage(planned.stage)
    timed = backend is not None and backend.alone
    alone = kind.alone or kind.interruptible or timed
    runs_it = planned.stage != "compile" or timed  # an engine is built anywhere, unless its kernels are timed meanwhile
    return Demand(
        cores=1,
        memory=memory,
        resource=planned.target if runs_it and planned.target in resources else "",
        alone=alone,
    )
