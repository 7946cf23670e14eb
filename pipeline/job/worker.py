"""A worker process: reads one request, runs one stage, writes its artifact, its events and one result.

Forked from a warm process, or started as `python -m enginesmith.pipeline.job.worker REQUEST.json FD`. The tools' own output
goes to this process's stdout and stderr, which the builder keeps as the log; events go to a file descriptor of their own.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Literal, NoReturn, TextIO

from pydantic import BaseModel, Field

from enginesmith.converters.core.errors import ConversionError, UserError, first_line
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.files import FileRecord, record_files
from enginesmith.converters.core.processes import block_torch, die_with_parent, no_exit
from enginesmith.converters.core.stage import Context
from enginesmith.converters.stages.registry import load_stage
from enginesmith.pipeline.job.told import Told

PARENT = "ENGINESMITH_WORKER_PARENT"
"""Environment variable with the builder's process id."""

Outcome = Literal["ok", "user error", "conversion error", "bug"]


class Request(BaseModel):
    """What the builder asks for. All paths are absolute."""

    stage: str
    options: dict[str, Any]
    inputs: dict[str, Path]
    out: Path
    scratch: Path
    cache: Path
    result: Path
    memory: int = 0
    """Bytes that it may use; 0 for any amount."""


class Result(Told):
    """What a worker answers; a worker that dies answers nothing."""

    stage: str = ""
    """Empty where the facts are those that all stages have."""
    outcome: Outcome
    message: str = ""
    remedy: str = ""
    crashed: bool = False
    """The worker ended without an answer."""
    files: dict[str, FileRecord] = Field(default_factory=dict)
    """What the stage left, by relative name, as the process that wrote it has found it."""
    peak_memory: int = 0
    """Bytes of resident memory, of the larger of this process and its largest child."""


def run(request: Request, events: TextIO) -> Result:
    """Run the stage in this process."""
    stage = load_stage(request.stage)
    if stage.without_torch:
        block_torch()

    def emit(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    context = Context(out=request.out, scratch=request.scratch, cache=request.cache, memory=request.memory, emit=emit)
    if stage.interruptible:
        asked = threading.Event()
        signal.signal(signal.SIGINT, lambda number, frame: asked.set())
        context.stopped = asked.is_set
    try:
        with no_exit():
            facts = stage.run(request.inputs, stage.options.model_validate(request.options), context)
        facts.interrupted = context.stopped()
        files = record_files(request.out)
    except UserError as error:
        return Result(outcome="user error", message=str(error))
    except ConversionError as error:
        told = Facts(findings=error.findings, repairs=error.repairs)
        return Result(outcome="conversion error", message=error.cause, remedy=error.remedy, facts=told)
    except Exception as error:  # noqa: BLE001 - the boundary of the process: a bug becomes a result, traceback in the log
        traceback.print_exc()
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return disk_full(request.out)
        last = traceback.format_exception_only(error)[-1].strip()
        return Result(outcome="bug", message=f"{type(error).__name__}: {last.partition(': ')[2] or last}")
    except BaseException as error:  # noqa: BLE001 - of what wants to end the process; Ctrl-C doesn't reach it
        traceback.print_exc()
        return Result(
            outcome="conversion error",
            message=f"code that ran in {request.stage} ended its process: {type(error).__name__}: {first_line(error)}",
            remedy="the log has the place; a model's code must return or raise an error",
        )
    return Result(stage=request.stage, outcome="ok", facts=facts, files=files)


def answer(request: Request, result: Result) -> None:
    """Write the result so that it appears whole or not at all."""
    temporary = request.result.with_suffix(".tmp")
    temporary.write_text(result.model_dump_json())
    temporary.replace(request.result)


def disk_full(folder: Path) -> Result:
    """The one error of the machine that every stage can meet."""
    return Result(
        outcome="conversion error",
        message=f"no space left on the disk of {folder}",
        remedy="free some, run `enginesmith cache gc`, or set ENGINESMITH_STORE to another disk",
    )


def peak_memory() -> int:
    """Bytes, of the larger of this process and its largest child."""
    # getrusage would count the builder's memory, in which this process began its life
    lines = Path("/proc/self/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return 1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def work(request_file: Path, events_fd: int) -> NoReturn:
    """Do what a request says; events go to the file descriptor given."""
    request = Request.model_validate_json(request_file.read_bytes())
    with os.fdopen(events_fd, "w") as events:
        result = run(request, events)
        result.peak_memory = peak_memory()
        try:
            answer(request, result)
        except OSError:  # a full disk: make room by dropping the product
            shutil.rmtree(request.out)
            answer(request, disk_full(request.out))
        sys.stdout.flush()
        sys.stderr.flush()
        # frameworks crash in their destructors now and then; the result is safe, so leave without them
        os._exit(0)


def main() -> NoReturn:
    if parent := os.environ.get(PARENT):
        die_with_parent(int(parent))
    work(Path(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
