"""Run a worker: start it, listen to it, watch its time and memory, and turn a crash into a diagnosis."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from enginesmith.pipeline.events import Event
from enginesmith.pipeline.worker import PARENT, Request, Result

POLL = 0.2
"""Seconds between looks at a worker's memory."""


@dataclass(frozen=True)
class Limits:
    """`timeout` in seconds; `memory` in bytes of resident memory, the worker's children included."""

    timeout: float
    memory: int


@dataclass(frozen=True)
class Ended:
    """A worker that ended: `seconds` of wall time, `peak_memory` in bytes."""

    result: Result
    seconds: float
    peak_memory: int


def run_worker(
    stage: str,
    options: dict[str, Any],
    inputs: dict[str, Path],
    folder: Path,
    cache: Path,
    log: Path,
    limits: Limits,
    environment: dict[str, str],
    listen: Callable[[Event], None],
) -> Ended:
    """Run one stage in a process of its own; its artifact is in `folder/out` afterwards. Never raises for the worker's fate."""
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir()
    scratch.mkdir()
    reader, writer = os.pipe()
    request = Request(
        stage=stage,
        options=options,
        inputs=inputs,
        out=out,
        scratch=scratch,
        cache=cache,
        result=folder / "result.json",
        events_fd=writer,
    )
    request_file = folder / "request.json"
    request_file.write_text(request.model_dump_json())
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "enginesmith.pipeline.worker", str(request_file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
            env={**os.environ, "PYTHONUNBUFFERED": "1", PARENT: str(os.getpid()), **environment},
            start_new_session=True,
        )
        os.close(writer)
        try:
            killed, peak = _watch(process, reader, limits, started, listen)
        finally:
            os.close(reader)
            _kill_group(process)
            status = process.wait()
    seconds = time.monotonic() - started
    if killed is None and request.result.exists():
        try:
            result = Result.model_validate_json(request.result.read_bytes())
            return Ended(result, seconds, max(peak, result.peak_memory))
        except ValidationError as error:
            killed = Result(outcome="bug", message=f"the worker's answer can't be read: {error}")
    return Ended(killed or _diagnose(status, log), seconds, peak)


def _watch(
    process: subprocess.Popen[bytes], reader: int, limits: Limits, started: float, listen: Callable[[Event], None]
) -> tuple[Result | None, int]:
    """Pass events on until the worker ends. Returns why we killed it, if we did, and its peak memory in bytes."""
    peak = 0
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=POLL):
                chunk = os.read(reader, 65536)
                if not chunk:
                    process.wait()
                    return None, peak
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    listen(Event.model_validate_json(line))
            elif process.poll() is not None:
                return None, peak
            peak = max(peak, used := _memory(process.pid))
            if time.monotonic() - started > limits.timeout:
                return _too_long(limits.timeout), peak
            if used > limits.memory:
                return _too_much(limits.memory), peak


def _memory(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        return sum(int(p.memory_info().rss) for p in [root, *root.children(recursive=True)])
    except psutil.Error:
        return 0


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """The worker leads its own session: what it started goes with it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _too_long(timeout: float) -> Result:
    return Result(
        outcome="conversion error",
        message=f"stopped after {timeout:.0f} s",
        remedy="give it more time (--timeout SECONDS), or a smaller model or shape",
    )


def _too_much(memory: int) -> Result:
    return Result(
        outcome="conversion error",
        message=f"stopped: it used more than {memory / 2**30:.1f} GB of memory",
        remedy="give it more (--memory GB), or a smaller model or shape",
    )


def _diagnose(status: int, log: Path) -> Result:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = f"; its last line: {lines[-1].strip()[:300]}" if lines else ""
    if status < 0:
        name = signal.Signals(-status).name
        remedy = "see the log; the same request often shows the cause with --verbose"
        if name == "SIGKILL":
            remedy = (
                "the kernel kills processes when memory runs out: give the machine more, or the model a smaller shape"
            )
        return Result(outcome="conversion error", message=f"the tool crashed ({name}){last}", remedy=remedy)
    return Result(outcome="bug", message=f"the worker ended with status {status} and no answer{last}")
