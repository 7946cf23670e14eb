"""The warm processes that workers are forked from: started ahead, and shared by the stages that want the same imports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.core.stage import GRAPHS
from enginesmith.converters.stages.registry import load_stage, stage_module
from enginesmith.pipeline.job import warm
from enginesmith.pipeline.job.warm import MESSAGE, READY

START = 300.0
"""Seconds that the imports may take; then the stages do without."""
POLL = 0.005
"""Seconds between looks at a worker that is about to end."""


class Gone(Exception):
    """The warm process has died, or was never there."""


class Process(Protocol):
    """What is used of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


class Imports(NamedTuple):
    """What a stage wants to have imported. One warm process serves all stages for which it is the same."""

    modules: tuple[str, ...]
    without_torch: bool

    @property
    def base(self) -> Imports | None:
        """Those of the process from which that for these is forked in turn."""
        further = self.without_torch and self.modules[: len(GRAPHS)] == GRAPHS != self.modules
        return Imports(GRAPHS, True) if further else None


def imports_of(planned: PlannedStage) -> Imports:
    stage = load_stage(planned.stage)
    backend = get_backend(planned.backend).preload if planned.backend else ()
    return Imports((*stage.preload, *backend), stage.without_torch)


class Template:
    """One warm process. It ends with its socket, so also when this process is killed."""

    def __init__(self, process: Process, end: socket.socket) -> None:
        self._process = process
        self._socket = end
        self._socket.settimeout(START)
        self._lock = Lock()
        self._was_ready = False
        self.lost = False
        """It was there, and has died."""

    @classmethod
    def start(
        cls, modules: Iterable[str], environment: Mapping[str, str], log: Path, *, without_torch: bool
    ) -> Template:
        """In a fresh Python."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        torch = "without" if without_torch else "with"
        log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", warm.__name__, str(theirs.fileno()), torch, *modules],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env=python_environment(environment),
                start_new_session=True,
            )
        return cls(process, ours)

    def branch(self, modules: Iterable[str]) -> Template:
        """One that has imported more. Raises Gone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = int(self._ask(f"branch {' '.join(modules)}", [theirs.fileno()]))
        return Template(Forked(self._ask, pid), ours)

    def ready(self) -> bool:
        """Wait for its imports. False where it can't be forked: they failed, or left threads running."""
        with self._lock:
            if not self._was_ready:
                try:
                    self._was_ready = self._socket.recv(MESSAGE) == READY
                except OSError:
                    self._process.send_signal(signal.SIGKILL)
            return self._was_ready

    def fork(self, request_file: Path, log: int, events: int) -> Forked:
        """Start a worker that writes to these two file descriptors. Raises Gone."""
        return Forked(self._ask, int(self._ask(f"fork {request_file}", [log, events])))

    def _ask(self, message: str, files: Sequence[int] = ()) -> str:
        """The answer to a message. Raises Gone."""
        with self._lock:
            try:
                socket.send_fds(self._socket, [message.encode()], files)
                answer = self._socket.recv(MESSAGE)
            except OSError:
                answer = b""
            self.lost = not answer
        if not answer:
            raise Gone
        return answer.decode()

    def close(self) -> None:
        """End it, and the workers that still run."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        with self._lock:  # whoever waits for an answer has got the end of the socket
            self._socket.close()


class Forked:
    """A process that a warm one forked, with what is needed of the methods of `subprocess.Popen`. `ask` asks its parent."""

    def __init__(self, ask: Callable[[str], str], pid: int) -> None:
        self._ask_parent = ask
        self.pid = pid
        self._status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal. Its process id stays its own until a wait without `timeout`.

        Raises subprocess.TimeoutExpired.
        """
        if self._status is None and timeout is None:
            self._status = self._ask("reap")
        if self._status is not None:
            return self._status
        deadline = time.monotonic() + (timeout or 0)
        while (status := self._ask("poll")) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(POLL)
        return status

    def send_signal(self, sig: int) -> None:
        os.kill(self.pid, sig)

    def _ask(self, verb: str) -> int | None:
        try:
            answer = self._ask_parent(f"{verb} {self.pid}")
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
            self._modules.setdefault(imports_of(planned), {})[stage_module(planned.stage)] = None
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
        except (Gone, OSError):  # OSError: no memory or no file descriptors for one more process
            return None
        return template if template.ready() else None

    def serve(self, planned: PlannedStage, then: Iterable[PlannedStage]) -> Template | None:
        """As `get`, with those for the stages that come next being started meanwhile; what takes times waits until nothing
        is."""
        self.ahead(then)
        template = self.get(planned)
        if load_stage(planned.stage).alone:
            self.settle()
        return template

    def ahead(self, stages: Iterable[PlannedStage]) -> None:
        """Start those that these stages will want, in the background, one after the other."""
        wanted = [imports for imports in dict.fromkeys(map(imports_of, stages)) if imports not in self._templates]

        def load() -> None:
            for imports in wanted:
                try:
                    self._started(imports).ready()
                except (Gone, OSError):  # who needs it will see
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
        wanted: set[Imports | None] = set(map(imports_of, stages))
        wanted |= {imports.base for imports in wanted if imports}  # who reaps it must live as long
        with self._lock:
            useless = sorted(self._templates.keys() - wanted, key=lambda imports: imports.base is None)
            ended = [self._templates.pop(imports) for imports in useless]
        for template in ended:
            template.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.keep([])
        self.settle()

    def _started(self, imports: Imports) -> Template:
        """Raises Gone after `close`, and where that fails which it is to be forked from."""
        base = self._started(imports.base) if imports.base else None
        modules = [*imports.modules, *self._modules.get(imports, ())]
        if base is not None and not base.ready():
            raise Gone
        with self._lock:
            if self._closed:
                raise Gone
            known = self._templates.get(imports)
            if known is None or known.lost:
                if known is not None:
                    known.close()
                if base is not None:
                    known = base.branch(modules)
                else:
                    known = Template.start(modules, self._environment, self._log, without_torch=imports.without_torch)
                self._templates[imports] = known
            return known


def python_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """For a Python of ours: what it prints comes at once, the folder where the user is holds no modules, and the store's
    address, which may have a password in it, is none of its business.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "ENGINESMITH_STORE"}
    return {**inherited, "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", **environment}
