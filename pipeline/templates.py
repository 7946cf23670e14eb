"""The warm processes that workers are forked from: started ahead, and shared by the stages that want the same imports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import NamedTuple, Self

from enginesmith.converters.backends import get_backend
from enginesmith.converters.registry import load_stage, stage_module
from enginesmith.pipeline.planned import PlannedStage
from enginesmith.pipeline.warm import MESSAGE, READY

START = 300.0
"""Seconds that the imports may take; then the stages do without."""
POLL = 0.005
"""Seconds between looks at a worker that is about to end."""


class Gone(Exception):
    """The warm process has died, or was never there."""


class Imports(NamedTuple):
    """What a stage wants to have imported. One warm process serves all stages for which it is the same."""

    modules: tuple[str, ...]
    without_torch: bool


def imports_of(planned: PlannedStage) -> Imports:
    stage = load_stage(planned.stage)
    backend = get_backend(planned.backend).preload if planned.backend else ()
    return Imports((*stage.preload, *backend), stage.without_torch)


class Template:
    """One warm process. It is told to end by the end of its socket, so also when this process is killed."""

    def __init__(
        self, modules: Iterable[str], environment: Mapping[str, str], log: Path, *, without_torch: bool
    ) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        torch = "without" if without_torch else "with"
        log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "enginesmith.pipeline.warm", str(theirs.fileno()), torch, *modules],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env=python_environment(environment),
                start_new_session=True,
            )
        self._socket.settimeout(START)
        self._lock = Lock()
        self._was_ready = False

    def ready(self) -> bool:
        """Wait for its imports. False where it can't be forked: they failed, or left threads running."""
        with self._lock:
            if not self._was_ready:
                try:
                    self._was_ready = self._socket.recv(MESSAGE) == READY
                except OSError:
                    self._process.kill()
            return self._was_ready

    @property
    def lost(self) -> bool:
        """It was there, and has died."""
        return self._was_ready and self._process.poll() is not None

    def fork(self, request_file: Path, log: int, events: int) -> Forked:
        """Start a worker that writes to these two file descriptors. Raises Gone."""
        return Forked(self, int(self.ask(f"fork {request_file}", [log, events])))

    def ask(self, message: str, files: Sequence[int] = ()) -> str:
        """The answer to a message. Raises Gone."""
        with self._lock:
            try:
                socket.send_fds(self._socket, [message.encode()], files)
                answer = self._socket.recv(MESSAGE)
            except OSError:
                answer = b""
        if not answer:
            raise Gone
        return answer.decode()

    def close(self) -> None:
        """End it, and the workers that still run."""
        self._process.kill()
        self._process.wait()
        with self._lock:  # whoever waits for an answer has got the end of the socket
            self._socket.close()


class Forked:
    """A worker, with what is needed of the methods of `subprocess.Popen`. Its parent is the warm process."""

    def __init__(self, template: Template, pid: int) -> None:
        self._template = template
        self.pid = pid

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal. Its process id stays its own until a wait without `timeout`.

        Raises subprocess.TimeoutExpired.
        """
        if timeout is None:
            return self._ask("reap") or 0
        deadline = time.monotonic() + timeout
        while (status := self._ask("poll")) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout)
            time.sleep(POLL)
        return status

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _ask(self, verb: str) -> int | None:
        try:
            answer = self._template.ask(f"{verb} {self.pid}")
        except Gone:  # and the kernel has killed the worker with it
            return -signal.SIGKILL
        return None if answer == "-" else int(answer)


class Templates:
    """The warm processes for the stages of a plan; none runs before a stage asks for it."""

    def __init__(self, stages: Iterable[PlannedStage], environment: Mapping[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._modules: dict[Imports, dict[str, None]] = {}
        for planned in stages:
            imports = imports_of(planned)
            modules = self._modules.setdefault(imports, dict.fromkeys(imports.modules))
            modules[stage_module(planned.stage)] = None
        self._templates: dict[Imports, Template] = {}
        self._lock = Lock()
        self._loading: list[Thread] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def get(self, planned: PlannedStage) -> Template | None:
        """The stage's template, once it is ready; None where a process of its own must do."""
        try:
            template = self._started(imports_of(planned))
        except Gone:
            return None
        return template if template.ready() else None

    def ahead(self, stages: Iterable[PlannedStage]) -> None:
        """Start those that these stages will want, in the background, one after the other."""
        wanted = [imports for imports in dict.fromkeys(map(imports_of, stages)) if imports not in self._templates]

        def load() -> None:
            for imports in wanted:
                try:
                    self._started(imports).ready()
                except Gone:
                    return

        if wanted:
            self._loading.append(Thread(target=load, daemon=True))
            self._loading[-1].start()

    def settle(self) -> None:
        """Wait until nothing is being imported."""
        for thread in self._loading:
            thread.join()

    def keep(self, stages: Iterable[PlannedStage]) -> None:
        """End those that none of these stages wants: they hold memory."""
        wanted = set(map(imports_of, stages))
        with self._lock:
            useless = [self._templates.pop(imports) for imports in self._templates.keys() - wanted]
        for template in useless:
            template.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.keep([])
        self.settle()

    def _started(self, imports: Imports) -> Template:
        """Raises Gone after `close`."""
        with self._lock:
            if self._closed:
                raise Gone
            known = self._templates.get(imports)
            if known is None or known.lost:
                if known is not None:
                    known.close()
                known = self._templates[imports] = Template(
                    self._modules[imports], self._environment, self._log, without_torch=imports.without_torch
                )
            return known


def python_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """For a Python of ours: what it prints comes at once, and the folder where the user is holds no modules."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", **environment}
