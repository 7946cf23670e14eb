"""Call functions in a process of their own, so that a crash or an endless run is an answer and not the end.

Parsers and builders of every vendor segfault on some graph. `Isolated` keeps one such process warm (importing a
framework takes seconds), gives each call a time limit, and starts a new process after one has died.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from enginesmith.converters.core.errors import ConversionError, UserError, dump_error, load_error
from enginesmith.converters.core.limits import too_much_memory
from enginesmith.converters.core.processes import block_torch, die_with_parent, written

IDLE_START = 120.0
"""Seconds that a new process may take to come up."""
GRACE = 2.0
"""Seconds that a process may take to end after it closed its pipe."""
POLL = 0.5
"""Seconds between two looks at whether the process still lives."""
WATCH = 0.1
"""Seconds between two looks at its memory, of which a machine can write half a GB meanwhile."""
NO_MEMORY = ("MemoryError", "bad_alloc", "Unable to allocate", "Failed to allocate memory")
"""What is raised where there is no more of it."""
_RUN = "import sys; from enginesmith.converters.core.isolated import serve; serve(int(sys.argv[1]), int(sys.argv[2]))"


class Died(Exception):
    """The call brought its process down, or took too long; the text says which, in one line."""


class Stopped(Died):
    """Its time was over."""


class _TooMuch(Exception):
    """The process has written to more memory than it may."""


class Raised(Exception):
    """The function raised what is none of our errors; the text is `Type: message`, in one line."""


FAILED = (Died, Raised, ConversionError)
"""How a call ends that was a fair request and came to nothing."""


class Isolated:
    """Calls `function(*arguments)` by name in a warm child process; arguments and results are JSON.

    `without_torch` makes torch unimportable there, as TVM needs it. `log` gets what the child prints; None throws it
    away. `memory` bounds what the child and its own children may write to, in bytes, 0 for no bound. `shared` are file
    descriptors that the child inherits under their numbers. `start` are the seconds that a new process may take to come
    up, on top of the first call's own limit.
    """

    def __init__(
        self,
        *,
        without_torch: bool = False,
        log: Path | None = None,
        memory: int = 0,
        shared: tuple[int, ...] = (),
        start: float = IDLE_START,
    ) -> None:
        self.without_torch = without_torch
        self.log = log
        self.memory = memory
        self.shared = shared
        self.start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = -1
        self._fresh = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def call(self, function: str, *arguments: Any, timeout: float) -> Any:
        """The result of `package.module:function`. `timeout` in seconds.

        Raises Died when the process crashed or was stopped; UserError and ConversionError as the function raised them,
        and Raised for whatever else it raised.
        """
        process = self._start()
        line = json.dumps({"function": function, "arguments": arguments}) + "\n"
        assert process.stdin is not None
        try:
            process.stdin.write(line.encode())
            process.stdin.flush()
            answer = self._read(time.monotonic() + timeout + (self.start if self._fresh else 0))
        except BrokenPipeError:
            answer = b""
        except _TooMuch:
            self.close()
            raise Died(too_much_memory(self.memory)) from None
        except BaseException:
            # Ctrl-C: the answer to this call must not be taken for that to the next one
            self.close()
            raise
        if answer is None:
            self.close()
            raise Stopped(f"stopped after {timeout:g} s")
        if not answer:
            status = self._end()
            raise Died(_fate(status))
        self._fresh = False
        reply = json.loads(answer)
        if "error" in reply:
            raise load_error(reply["error"])
        if "raised" in reply:
            if self.memory and any(word in reply["raised"] for word in NO_MEMORY):
                raise Died(too_much_memory(self.memory))
            raise Raised(reply["raised"])
        return reply["result"]

    @property
    def alive(self) -> bool:
        """Is there a process, which has not ended of itself?"""
        return self._process is not None and not self._has_ended()

    def close(self) -> None:
        """Kill the process, with what it started; the next call starts a new one."""
        if self._process is not None:
            self._kill()
            self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            reader, writer = os.pipe()
            output = self.log.open("ab") if self.log else None
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _RUN, str(writer), str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=output or subprocess.DEVNULL,
                    stderr=subprocess.STDOUT if output else subprocess.DEVNULL,
                    pass_fds=[writer, *self.shared],
                    env={
                        **os.environ,
                        "PYTHONSAFEPATH": "1",
                        "ENGINESMITH_WITHOUT_TORCH": "1" if self.without_torch else "",
                        "ENGINESMITH_MEMORY": str(self.memory),
                    },
                    start_new_session=True,
                )
            finally:
                os.close(writer)
                if output:
                    output.close()
            self._reader = reader
            self._fresh = True
        return self._process

    def _read(self, deadline: float) -> bytes | None:
        """One line; b"" when the process ended, None when the deadline passed."""
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            ended = self._has_ended()
            if not select.select([self._reader], [], [], 0 if ended else min(left, WATCH if self.memory else POLL))[0]:
                if ended:  # and what it had forked holds the pipe open
                    return b""
                if self.memory and self._process and written(self._process.pid) > self.memory:
                    raise _TooMuch
                continue
            chunk = os.read(self._reader, 1 << 16)
            if not chunk:
                return b""
            line += chunk
        return line

    def _kill(self) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _end(self) -> int:
        """Reap the process and kill what it left behind; its exit status."""
        assert self._process is not None
        # a process that closed its pipe is about to end by itself, and its status says how
        deadline = time.monotonic() + GRACE
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._kill()  # before it is reaped: until then its id is nobody else's
        status = self._process.wait()
        os.close(self._reader)
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process = None
        return status

    def _has_ended(self) -> bool:
        assert self._process is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _fate(status: int) -> str:
    if status < 0:
        return f"the tool crashed ({signal.Signals(-status).name})"
    return f"the tool ended its process with status {status}"


def serve(writer: int, parent: int) -> None:
    """The child's loop: one JSON line in, one out, until standard input ends."""
    die_with_parent(parent)
    os.set_inheritable(writer, False)
    if os.environ.get("ENGINESMITH_WITHOUT_TORCH"):
        block_torch()
    if limit := int(os.environ.get("ENGINESMITH_MEMORY") or 0):
        import resource

        # of this process alone, at once; what it starts is watched from outside
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for line in sys.stdin:
        request = json.loads(line)
        module, _, name = request["function"].partition(":")
        try:
            reply = json.dumps({"result": getattr(import_module(module), name)(*request["arguments"])})
        except (UserError, ConversionError) as error:
            reply = json.dumps({"error": dump_error(error)})
        except Exception as error:  # noqa: BLE001 - the caller gets it as Raised
            text = " ".join(str(error).split())
            reply = json.dumps({"raised": f"{type(error).__name__}: {text}" if text else type(error).__name__})
        with os.fdopen(os.dup(writer), "wb") as pipe:
            pipe.write(f"{reply}\n".encode())
