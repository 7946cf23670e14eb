"""The farm on a Ray cluster: each stage is a task of Ray's, on the node that the queue has chosen; artifacts go from node to
node by the store.

A node states what it can run as a custom resource: `ray start --address HEAD --resources '{"sm_89": 1}'`.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from typing import Any

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.farm.cells import Cell
from enginesmith.pipeline.farm.driver import Done
from enginesmith.pipeline.farm.queue import Node
from enginesmith.pipeline.farm.tasks import Task
from enginesmith.pipeline.job.artifacts import Artifacts, Build
from enginesmith.pipeline.job.builder import TEMPLATES, worker_environment
from enginesmith.pipeline.job.entry import Entry
from enginesmith.pipeline.job.fates import begin_again
from enginesmith.pipeline.job.manifest import StageRecord
from enginesmith.pipeline.job.plan import Plan
from enginesmith.pipeline.job.results import LOGS
from enginesmith.pipeline.job.store import Store
from enginesmith.pipeline.job.templates import Template, Templates

OLDEST = (2, 40)
"""Version of Ray."""
ANSWER = 5.0
"""Seconds in which a head must answer."""
PATIENCE = 60.0
"""Seconds in which a node that a task needs may come back."""
SHARE = 0.001
"""Of a custom resource that a task takes: who may use it is the queue's to say."""
OWN = ("CPU", "GPU", "memory", "object_store_memory")
"""Resources that Ray states itself, beside those with a colon."""


@dataclass(frozen=True)
class Order:
    """What a node gets: the stage, the plan that it is of, and what was made of it by now."""

    id: str
    planned: PlannedStage
    plan: Plan
    recipe: Recipe
    store: str
    logs: Path
    records: list[StageRecord]
    entries: dict[str, Entry] = field(default_factory=dict)


def make(order: Order) -> Done:
    """On a node: take the stage's artifact from the store, or make it and leave it there."""
    store = Store(order.store or None)
    build = Build(order.records, order.entries)
    record = next(record for record in build.records if record.id == order.planned.id)
    begin_again(record, order.planned)
    with store.workspace() as workspace:
        artifacts = Artifacts(
            store=store,
            recipe=order.recipe,
            logs=order.logs,
            environment=worker_environment(order.recipe),
            plan=order.plan,
            build=build,
            workspace=workspace,
            tell=lambda *told, **more: None,
            start=lambda planned: _template(planned, order),
            stopping=Flag(),
        )
        try:
            artifacts.make(order.planned)
        except UserError as error:
            record.status, record.error = "failed", str(error)
    return Done(order.id, record, build.entries.get(order.planned.id), build.bugs)


_warm: dict[str, Templates] = {}
"""Of this process of Ray's, which does one task after the other: by the environment of their workers."""


def _template(planned: PlannedStage, order: Order) -> Template | None:
    """A warm process for the stage; that of the task before goes where it is another: there is one for each core."""
    environment = worker_environment(order.recipe)
    templates = _warm.setdefault(str(environment), Templates(order.plan.stages, environment, order.logs / TEMPLATES))
    templates.keep([planned])
    return templates.serve(planned, ())


class OnRay:
    """A driver. `store` is the address of one that all nodes reach."""

    def __init__(self, address: str, store: str) -> None:
        self._ray = connect(address)
        self.patience = PATIENCE
        self._store = store
        self._running: dict[Any, str] = {}
        nodes = self.nodes()
        self.about = f"Ray {self._ray.__version__}: {len(nodes)} nodes, {sum(node.cores for node in nodes)} cores"
        # a task is told to begin again by the farm, which counts
        self._make = self._ray.remote(max_retries=0)(make)

    @property
    def resources(self) -> dict[str, int]:
        """Custom resources, and how many nodes have them."""
        found = [resource for node in self.nodes() for resource in node.resources]
        return {resource: found.count(resource) for resource in sorted(set(found))}

    def nodes(self) -> list[Node]:
        try:
            found = self._ray.nodes()
        except Exception as error:  # noqa: BLE001 - Ray has many
            raise UserError(f"the cluster's head is gone ({first_line(error)}); run it again: it goes on") from None
        return [
            Node(
                name=node["NodeID"],
                cores=int(node["Resources"]["CPU"]),
                memory=int(node["Resources"].get("memory", 0)),
                resources=frozenset(key for key in node["Resources"] if key not in OWN and ":" not in key),
            )
            for node in found
            if node["Alive"] and node["Resources"].get("CPU")
        ]

    def start(self, task: Task, node: Node, cell: Cell, build: Build) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        _, planned = task.lead
        order = Order(
            id=task.job.id,
            planned=planned,
            plan=cell.plan,
            recipe=cell.recipe,
            store=self._store,
            logs=(cell.recipe.out or Path()) / LOGS,
            records=build.records,
            entries=dict(build.entries),
        )
        demand = task.job.demand
        asked = self._make.options(
            name=f"{cell.name}: {planned.id}",
            num_cpus=node.cores if demand.alone else demand.cores,
            memory=min(demand.memory, node.memory),
            resources={demand.resource: SHARE} if demand.resource else None,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.name, soft=False),
        )
        self._running[asked.remote(order)] = task.job.id

    def wait(self, seconds: float) -> list[Done]:
        ended, others = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if ended and others:
            more, _ = self._ray.wait(others, num_returns=len(others), timeout=0)
            ended += more
        return [self._done(each, self._running.pop(each)) for each in ended]

    def _done(self, reference: Any, id: str) -> Done:
        try:
            done = self._ray.get(reference)
            assert isinstance(done, Done)
        except Exception as error:  # noqa: BLE001 - a node or its process is gone, or its disk, or its store
            return Done(id, lost=f"{type(error).__name__}: {first_line(error)}")
        return done

    def stop(self) -> None:
        for reference in self._running:
            with suppress(Exception):
                self._ray.cancel(reference, force=True)

    def close(self) -> None:
        self._ray.shutdown()


def connect(address: str) -> Any:
    """Ray, connected. Raises UserError, in one line, where it isn't here, is too old, or nobody answers."""
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UserError(f"--address {address} needs Ray: pip install 'enginesmith[farm]'; or leave it out") from None
    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if version < OLDEST:
        raise UserError(f"Ray {ray.__version__} is too old; {'.'.join(map(str, OLDEST))} or newer is needed")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address != "auto":
        if not host or not port.isdigit():
            raise UserError(f"--address {address!r} is none; give local, auto, HOST:PORT or ray://HOST:PORT")
        try:
            socket.create_connection((host, int(port)), ANSWER).close()
        except (OSError, OverflowError) as error:
            raise UserError(f"no head of a Ray cluster answers at {address} ({first_line(error)})") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="enginesmith")
    except Exception as error:  # noqa: BLE001 - each way of Ray's to fail has a type of its own
        raise UserError(f"can't join the Ray cluster at {address} ({first_line(error)})") from None
    return ray


def check_targets(cells: Iterable[Cell], resources: dict[str, int]) -> None:
    """Raises UserError for a target that neither a node has nor runs here."""
    for cell in cells:
        for planned in cell.plan.stages:
            if planned.blocked and planned.target and planned.target not in resources:
                has = ", ".join(f"{name} on {count}" for name, count in resources.items()) or "none"
                raise UserError(
                    f"no node has the target {planned.target} (resources of the cluster: {has}); start one with "
                    f"--resources '{{\"{planned.target}\": 1}}', or give build_only: true, by which its engines are not run"
                )
