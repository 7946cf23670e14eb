"""Run a piece of Python in a process with limits on its time and its memory."""

from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

from enginesmith.converters.core.processes import die_with_parent, threads_left

POLL = 0.005
"""Seconds between looks at whether it has ended."""


class Ended(NamedTuple):
    """`status` is negative for a signal, None where the time was over; `output` is what was printed."""

    status: int | None
    output: str


class Running:
    """A process that was started. Leave its context, and it is killed."""

    def __init__(self, child: int, output: IO[bytes]) -> None:
        self._child = child
        self._output = output
        self._reaped = False

    def wait(self, seconds: float, processor: float = math.inf) -> Ended:
        """How it ends, within so many seconds from now on, of which it may take so many of the processor's; or is killed."""
        status = _wait(self._child, seconds, processor)
        self._reaped = True
        self._output.seek(0)
        return Ended(status, self._output.read().decode(errors="replace"))

    def close(self) -> None:
        if not self._reaped:
            self.wait(0)


@contextmanager
def started_python(code: str, arguments: list[str], memory: int) -> Iterator[Running]:
    """Start `code` with `sys.argv[1:]`, with `memory` bytes of address space; what is started goes on beside this process.

    The process is forked from this one where no thread runs here, and then needs not import again what this one has.
    """
    parent = os.getpid()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = min(memory, hard) if hard >= 0 else memory

    def limit() -> None:  # in the child only
        die_with_parent(parent)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))

    with tempfile.TemporaryFile() as output:
        if threads_left() == 1:
            sys.stdout.flush()
            sys.stderr.flush()
            if (child := os.fork()) == 0:
                limit()
                _run(code, arguments, output)
        else:
            # -P: the folder where the user is may hold an onnx.py
            command = [sys.executable, "-P", "-c", code, *arguments]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=limit
            )
            child = process.pid
            process.returncode = 0  # it is reaped below
        running = Running(child, output)
        try:
            yield running
        finally:
            running.close()


def run_python(code: str, arguments: list[str], seconds: float, memory: int) -> Ended:
    """Run `code` as `started_python` does, for at most so many seconds."""
    with started_python(code, arguments, memory) as running:
        return running.wait(seconds)


def _run(code: str, arguments: list[str], output: IO[bytes]) -> NoReturn:
    """As `python -c` does it, in a process that was forked."""
    status = 0
    try:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)
        sys.argv = ["-c", *arguments]
        exec(code, {"__name__": "__main__"})
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if status and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - whatever it is, it must not return into the code that forked
        status = 1
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _processor_time(child: int) -> float:
    """Seconds so far. The process is ours, and not reaped, so that it has an entry."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait(child: int, seconds: float, processor: float = math.inf) -> int | None:
    """Reap it, killed when the time is over; then None."""
    deadline = time.monotonic() + seconds
    most = _processor_time(child) + processor
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > deadline or _processor_time(child) > most:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(POLL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
