"""Where kernels are timed: here, or on machines that wait at a tracker of TVM's RPC."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import UserError

SESSION = 120
"""Seconds after which another machine ends our session: that frees it of a kernel that doesn't end."""
ANSWER = 5.0
"""Seconds to wait for a tracker."""
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[^:/\s]+):(?P<port>\d{1,5})/(?P<key>[^\s/]+)")


@dataclass(frozen=True)
class Tracker:
    """Address of a tracker, and the key under which the machines of the target wait there."""

    host: str
    port: int
    key: str


def parse_tracker(text: str) -> Tracker:
    """From `HOST:PORT/KEY`. Raises UserError."""
    match = _ADDRESS.fullmatch(text.strip())
    if not match or not 0 < int(match["port"]) < 65536:
        raise UserError(f"can't read tuners = {text!r}; write it HOST:PORT/KEY, like tracker.example:9190/board")
    return Tracker(match["host"].strip("[]"), int(match["port"]), match["key"])


@dataclass(frozen=True, eq=False)
class Machine:
    """`session` is None for this machine. `linker` is the compiler that links for the target."""

    target: Any
    device: Any
    linker: str
    session: Any = None

    def load(self, executable: Any, path: Path) -> Any:
        """Bring a compiled module to the machine; `path` may be used for a file on the way."""
        if self.session is None:
            return executable.jit() if hasattr(executable, "jit") else executable.mod
        from tvm.support import cc

        executable.export_library(str(path), fcompile=cc.cross_compiler(self.linker))
        return self.bring(path)

    def bring(self, path: Path) -> Any:
        """Load a shared library on the machine."""
        import tvm

        if self.session is None:
            return tvm.runtime.load_module(str(path.resolve()))
        name = f"{path.parent.name}-{path.name}"
        self.session.upload(str(path), target=name)
        return self.session.load_module(name)


def connect(target: str, threads: int, tracker: str = "") -> Machine:
    """This machine, or one that waits at `tracker`, for SESSION seconds.

    Raises UserError where no machine answers.
    """
    import tvm

    from enginesmith.converters.backends.tvm.processors import llvm_target
    from enginesmith.converters.backends.tvm.target import parse

    llvm, linker = llvm_target(target), parse(target).linker()
    if not tracker:
        return Machine(llvm, tvm.cpu(), linker)
    address = parse_tracker(tracker)
    try:
        from tvm import rpc

        waiting = rpc.connect_tracker(address.host, address.port)
        session = waiting.request(address.key, session_timeout=SESSION)
    except (OSError, RuntimeError) as error:
        raise UserError(f"no machine at {tracker}: {error}") from None
    session.get_function("runtime.config_threadpool")(1, threads)
    return Machine(llvm, session.cpu(), linker, session)


def reach(tracker: Tracker) -> None:
    """Raises UserError where nothing listens there. Cheap: imports nothing."""
    try:
        socket.create_connection((tracker.host, tracker.port), ANSWER).close()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise UserError(
            f"no tracker answers at {tracker.host}:{tracker.port} ({reason}); start one with "
            "python -m tvm.exec.rpc_tracker"
        ) from None


def machines(tracker: str) -> int:
    """How many machines a tracker knows under the key. Raises UserError where there is no tracker, or no machine."""
    from tvm import rpc

    address = parse_tracker(tracker)
    reach(address)
    try:
        summary = rpc.connect_tracker(address.host, address.port).summary()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"what answers at {address.host}:{address.port} is no tracker of TVM ({error})") from None
    servers = sum(1 for server in summary["server_info"] if server["key"] == f"server:{address.key}")
    if not servers:
        raise UserError(
            f"no machine waits under the key {address.key} at {address.host}:{address.port}; "
            "start python -m tvm.exec.rpc_server --tracker ... --key ... on one"
        )
    return servers
