"""What a command or a script of another tool is as a build of ours: its parts with what became of them, and a recipe."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from enginesmith.compat.migrations.facts import Status
from enginesmith.compat.migrations.reading import Job, Part, Reading
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.job.migrated_recipe import Asked
from enginesmith.pipeline.job.recipe import make_recipe


class MigratedPart(BaseModel, frozen=True):
    """One option or use of an API: when it was there, what it is in TensorRT 11, and what is ours for it."""

    line: int
    text: str
    status: Status
    since: str = ""
    deprecated: str = ""
    last: str = ""
    now: str
    ours: str
    source: str
    where: str = ""
    """The condition that it stands under."""
    taken: bool = True
    """False where the script's own defaults say that the condition does not hold."""


class MigratedJob(BaseModel):
    """One command or script. `recipe`, `yaml` and `command` say the same build three times; empty where it builds nothing."""

    tool: str
    line: int
    text: str
    builds: bool
    parts: list[MigratedPart]
    same: int
    """Uses of an API that are the same in TensorRT 11."""
    recipe: dict[str, Any] = {}
    yaml: str = ""
    command: str = ""
    notes: list[str] = []
    """What a recipe can't say, or what it needs to know yet."""


class NotRead(BaseModel, frozen=True):
    line: int
    text: str
    reason: str


class Migration(BaseModel):
    """All jobs of a command line or a file, and what was not read of it."""

    source: str
    jobs: list[MigratedJob]
    unread: list[NotRead]


def migrate(reading: Reading, source: str, folder: Path) -> Migration:
    """Say what each job is. `folder` is where the files that it names are looked for. Raises UserError where there is no job."""
    if not reading.jobs:
        why = f" ({reading.unread[0].reason}, line {reading.unread[0].line})" if reading.unread else ""
        raise UserError(
            f"{source}: no command of trtexec, polygraphy or onnx2trt, and nothing of TensorRT's Python API is in it{why}"
        )
    unread = [NotRead(line=each.line, text=each.text, reason=each.reason) for each in reading.unread]
    return Migration(source=source, jobs=[_job(job, folder) for job in reading.jobs], unread=unread)


def _job(job: Job, folder: Path) -> MigratedJob:
    made = MigratedJob(
        tool=job.tool,
        line=job.line,
        text=job.text,
        builds=job.builds,
        parts=[_part(part) for part in job.parts],
        same=job.same,
    )
    if not job.builds:
        runs = job.told("load") or job.tool != "trtexec"
        made.notes.append(
            "it builds nothing: there is no recipe of it"
            if runs
            else "it names no model (--onnx): there is no recipe of it"
        )
        return made
    asked = Asked(job, folder)
    made.recipe = asked.recipe()
    make_recipe(made.recipe)  # our own check; a failure is our bug
    made.notes = asked.notes
    made.yaml = yaml.safe_dump(made.recipe, sort_keys=False, allow_unicode=True, width=1000)
    made.command = shlex.join(["enginesmith", "build", *_flags(made.recipe)])
    return made


def _part(part: Part) -> MigratedPart:
    fact = part.fact
    return MigratedPart(
        line=part.line,
        text=part.text,
        status=fact.status,
        since=fact.since,
        deprecated=fact.deprecated,
        last=fact.last,
        now=fact.now,
        ours=fact.ours,
        source=fact.source,
        where=part.where,
        taken=part.taken,
    )


def _flags(recipe: dict[str, Any]) -> list[str]:
    words = [str(recipe["model"])]
    for name, value in recipe.items():
        if name != "model":
            flag = f"--{name.replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    return words
