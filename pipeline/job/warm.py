"""A warm process: it has imported what a stage works with, and forks a worker from itself for each request.

Started as `python -m enginesmith.pipeline.job.warm FD TORCH MODULE...`: FD is its end of a socket of whole messages, TORCH is
`without` to make torch unimportable. It imports the modules and runs nothing of them, says `ready`, and then answers, in
order: `fork REQUEST.json` (with the log and the pipe for events) by the worker's process id; `branch MODULE...` (with a
socket) by the id of a process like this one, which has imported these too; `poll ID` by the exit status or `-`; `reap ID` by
the exit status. It ends with its builder, and its workers with it.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from enginesmith.converters.core.processes import block_torch, die_with_parent, threads_left
from enginesmith.pipeline.job.worker import work

MESSAGE = 65536
"""Bytes of the longest message."""
READY = b"ready"
GPU = "/dev/nvidia"
"""Start of the names of devices that CUDA opens when it is initialised, which it can't be again after a fork."""


def main() -> NoReturn:
    builder = socket.socket(fileno=int(sys.argv[1]))
    builder.set_inheritable(False)
    if sys.argv[2] == "without":
        block_torch()
    _warm_up(sys.argv[3:])
    builder.send(READY)
    while True:
        message, files, _, _ = socket.recv_fds(builder, MESSAGE, 2)
        verb, _, rest = message.decode().partition(" ")
        match verb:
            case "fork":
                builder.send(str(_fork(builder, Path(rest), *files)).encode())
            case "branch":
                if branch := os.fork():
                    os.close(files[0])
                    builder.send(str(branch).encode())
                else:
                    os.setsid()
                    builder.close()
                    builder = socket.socket(fileno=files[0])
                    builder.set_inheritable(False)
                    _warm_up(rest.split())
                    builder.send(READY)
            case "poll":
                builder.send(_status(int(rest), os.WNOHANG | os.WNOWAIT))
            case "reap":
                builder.send(_status(int(rest), 0))
            case _:  # the builder is gone; frameworks crash in their destructors now and then
                os._exit(0)


def _warm_up(modules: Sequence[str]) -> None:
    """Import them. Ends the process where it could not be forked afterwards."""
    gc.disable()  # a fifth of the time of importing torch; what is imported stays
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:  # another version of a tool: the stage knows better than its list of modules
            print(f"{module} is not imported ahead: {error}", file=sys.stderr)
    gc.freeze()
    gc.enable()
    imported = f"after importing {' '.join(modules)}"
    if (threads := threads_left()) > 1:
        sys.exit(f"{threads} threads run {imported}: a fork would lose them")
    if _holds_gpu():
        sys.exit(f"a GPU is in use {imported}: a fork could not use it")


def _holds_gpu() -> bool:
    links = (Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
    return any(os.readlink(link).startswith(GPU) for link in links if link.is_symlink())


def _fork(builder: socket.socket, request: Path, log: int, events: int) -> int:
    """The id of a new worker, which leads a session of its own."""
    parent = os.getpid()
    if (worker := os.fork()) == 0:
        builder.close()
        _become_worker(parent, request, log, events)
    os.close(log)
    os.close(events)
    return worker


def _become_worker(parent: int, request: Path, log: int, events: int) -> NoReturn:
    try:
        die_with_parent(parent)
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.set_inheritable(events, False)
        work(request, events)
    except BaseException:  # noqa: BLE001 - whatever it is, it must not return into the loop of the warm process
        traceback.print_exc()
    finally:
        os._exit(1)


def _status(worker: int, how: int) -> bytes:
    """As of subprocess: negative for a signal; `-` as long as it runs."""
    ended = os.waitid(os.P_PID, worker, os.WEXITED | how)
    if ended is None:
        return b"-"
    return str(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status).encode()


if __name__ == "__main__":
    main()
