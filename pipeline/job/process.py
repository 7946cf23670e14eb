"""Run a worker: start it, listen to it, watch its time and memory, and turn a crash into a diagnosis."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import psutil
from pydantic import ValidationError

from enginesmith.pipeline.job import worker
from enginesmith.pipeline.job.events import WORKERS, Event
from enginesmith.pipeline.job.templates import Gone, Process, Template, python_environment
from enginesmith.pipeline.job.worker import PARENT, Request, Result

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


class Stopped(Exception):
    """The build ends, for a reason that lies elsewhere."""


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
    *,
    interruptible: bool = False,
    template: Template | None = None,
    stopping: threading.Event | None = None,
) -> Ended:
    """Run one stage in a process of its own; its artifact is in `folder/out` afterwards. Never raises for the worker's fate,
    but Stopped once `stopping` is set.

    The process is forked from `template` where there is one. The first Ctrl-C goes to an `interruptible` stage, which then
    ends with what it has.
    """
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
        memory=limits.memory,
    )
    request_file = folder / "request.json"
    request_file.write_text(request.model_dump_json())
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as written, log.open("rb") as read:
        process = _start(template, request_file, written, writer, environment)
        os.close(writer)
        output = _Output(reader, read, listen)
        try:
            with _interrupts(process, listen) if interruptible else nullcontext() as asked:
                killed, peak = _watch(process, output, limits, started, stopping)
            if asked and killed is None and not request.result.exists():
                raise KeyboardInterrupt  # it came before the worker was ready for it
        finally:
            _kill_group(process)
            status = process.wait()
            with os.fdopen(reader, "rb", buffering=0):
                output.wait(0)  # what it said after the last look: at most a full pipe, which is one read
        output.show_log(ended=True)
    seconds = time.monotonic() - started
    if killed is None and request.result.exists():
        try:
            result = Result.model_validate_json(request.result.read_bytes())
            return Ended(result, seconds, max(peak, result.peak_memory))
        except ValidationError as error:
            killed = Result(outcome="bug", message=f"the worker's answer can't be read: {error}")
    return Ended(killed or _diagnose(status, log), seconds, peak)


def _start(
    template: Template | None, request_file: Path, log: BinaryIO, events: int, environment: dict[str, str]
) -> Process:
    """A worker, forked from the template if that is still there."""
    if template is not None:
        with suppress(Gone):
            return template.fork(request_file, log.fileno(), events)
    return subprocess.Popen(
        [sys.executable, "-m", worker.__name__, str(request_file), str(events)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=[events],
        env={**python_environment(environment), PARENT: str(os.getpid())},
        start_new_session=True,
    )


class _Output:
    """Passes on what a worker says: events from its pipe, and lines from its log."""

    def __init__(self, reader: int, log: BinaryIO, listen: Callable[[Event], None]) -> None:
        self._reader = reader
        self._log = log
        self._listen = listen
        self._event = self._line = b""
        self._open = True

    def wait(self, seconds: float = POLL) -> bool:
        """Wait for something, at most so long. False when nothing came, or nothing can come any more."""
        ready = self._open and bool(select.select([self._reader], [], [], seconds)[0])
        if ready:
            chunk = os.read(self._reader, 65536)
            self._open = bool(chunk)
            *lines, self._event = (self._event + chunk).split(b"\n")
            for line in lines:
                self._tell(line)
        self.show_log()
        return ready and self._open

    def show_log(self, *, ended: bool = False) -> None:
        *lines, self._line = (self._line + self._log.read()).split(b"\n")
        for line in [*lines, self._line] if ended and self._line else lines:
            self._listen(Event(event="log", text=line.decode(errors="replace").rstrip("\r")))

    def _tell(self, line: bytes) -> None:
        with suppress(ValidationError):  # a tool may write anything into a file descriptor that it inherited
            event = Event.model_validate_json(line)
            if event.event in WORKERS:
                self._listen(event)


def _watch(
    process: Process, output: _Output, limits: Limits, started: float, stopping: threading.Event | None
) -> tuple[Result | None, int]:
    """Pass events on until the worker ends. Returns why we killed it, if we did, and its peak memory in bytes."""
    peak, looked = 0, 0.0
    while True:
        if not output.wait() and _ended(process):
            return None, peak
        if stopping is not None and stopping.is_set():
            raise Stopped
        now = time.monotonic()
        if now - started > limits.timeout:
            return _too_long(limits.timeout), peak
        if now - looked > POLL:
            looked = now
            peak = max(peak, used := _memory(process.pid))
            if used > limits.memory:
                return _too_much(limits.memory), peak


@contextmanager
def _interrupts(process: Process, listen: Callable[[Event], None]) -> Iterator[list[int]]:
    """Pass the first SIGINT on to the worker, and note it in the list; the second one is for us again."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # signals reach the main thread alone
        return

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)
        process.send_signal(signal.SIGINT)
        listen(Event(event="warning", text="stopping with the best so far; Ctrl-C again gives it up"))

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _ended(process: Process) -> bool:
    try:
        process.wait(POLL / 10)
    except subprocess.TimeoutExpired:
        return False
    return True


def _memory(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        return sum(int(p.memory_info().rss) for p in [root, *root.children(recursive=True)])
    except psutil.Error:
        return 0


def _kill_group(process: Process) -> None:
    """The worker leads its own session: what it started goes with it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _too_long(timeout: float) -> Result:
    return Result(
        outcome="conversion error",
        message=f"stopped after {timeout:g} s",
        remedy="give it more time (--timeout SECONDS), or a smaller model or shape",
    )


def _too_much(memory: int) -> Result:
    return Result(
        outcome="conversion error",
        message=f"stopped: it used more than {memory / 2**30:.3g} GB of memory",
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
        return Result(
            outcome="conversion error", message=f"the tool crashed ({name}){last}", remedy=remedy, crashed=True
        )
    return Result(outcome="bug", message=f"the worker ended with status {status} and no answer{last}", crashed=True)
