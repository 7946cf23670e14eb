"""A warm process: it has imported what a stage works with, and forks a worker from itself for each request.

Started as `python -m enginesmith.pipeline.warm FD TORCH MODULE...`: FD is its end of a socket of whole messages, TORCH is
`without` to make torch unimportable. It imports the modules and runs nothing of them, says `ready`, and then answers, in
order, `fork REQUEST.json` (with the log and the pipe for events) by the worker's process id, `poll ID` by the exit status
or `-`, and `reap ID` by the exit status. It ends with its builder, and its workers with it.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from enginesmith.converters.processes import block_torch, die_with_parent
from enginesmith.pipeline.worker import work

MESSAGE = 65536
"""Bytes of the longest message."""
READY = b"ready"


def main() -> NoReturn:
    builder = socket.socket(fileno=int(sys.argv[1]))
    builder.set_inheritable(False)
    if sys.argv[2] == "without":
        block_torch()
    gc.disable()  # a fifth of the time of importing torch; what is imported stays
    for module in sys.argv[3:]:
        import_module(module)
    gc.freeze()
    gc.enable()
    if (threads := threads_left()) > 1:
        sys.exit(f"{threads} threads run after importing {' '.join(sys.argv[3:])}: a fork would lose them")
    builder.send(READY)
    while True:
        message, files, _, _ = socket.recv_fds(builder, MESSAGE, 2)
        verb, _, rest = message.decode().partition(" ")
        match verb:
            case "fork":
                builder.send(str(_fork(builder, Path(rest), *files)).encode())
            case "poll":
                builder.send(_status(int(rest), os.WNOHANG | os.WNOWAIT))
            case "reap":
                builder.send(_status(int(rest), 0))
            case _:  # the builder is gone; frameworks crash in their destructors now and then
                os._exit(0)


def threads_left() -> int:
    """Threads of this process after a fork, which ends those that can be started again (OpenBLAS joins its pool)."""
    if (probe := os.fork()) == 0:
        os._exit(0)
    os.waitpid(probe, 0)
    return len(os.listdir("/proc/self/task"))


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
