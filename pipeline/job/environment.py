"""The machine: what it is, and what it can build and run."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

import psutil
from pydantic import BaseModel

from enginesmith.converters.backends import BACKENDS
from enginesmith.pipeline.job.manifest import MachineRecord


def machine_record() -> MachineRecord:
    """CPU, cores that this process may use, memory in GB, GPU, system."""
    return MachineRecord(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=_gpu_name(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def machine_id() -> str:
    """What a timing depends on: a cached one counts only where this is the same."""
    machine = machine_record()
    return f"{machine.cpu}, {machine.cores} cores, {machine.gpu or 'no GPU'}"


@cache
def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def _gpu_name() -> str:
    """From the driver's own files, without loading it; empty without a GPU."""
    for info in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in info.read_text().splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return ""


class Ability(BaseModel):
    """What this machine can do with a backend; `build` and `run` say why not, and are empty where it can."""

    backend: str
    version: str
    build: str
    run: str
    targets: str


def abilities() -> list[Ability]:
    """One row per backend."""
    rows = []
    for name, backend in BACKENDS.items():
        reason = backend.available() or ""
        target = "" if reason else backend.resolve_target("auto")
        rows.append(
            Ability(
                backend=name,
                version=backend.version(),
                build=reason,
                run=reason or backend.runnable(target) or "",
                targets=target,
            )
        )
    return rows
