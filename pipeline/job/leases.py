"""Who makes a key, among machines that share a store and nothing else: a small object that its holder renews.

No two clocks are held against each other: whoever waits takes over what has not changed for as long as its own clock says.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

LEASE = 30.0
"""Seconds in which a holder renews its lease; one that doesn't is taken for dead."""
LOOK = 0.5
"""Seconds between looks of those who wait."""


class Leases:
    """On an fsspec file system, below a folder. A lease spares work and guards nothing: where two hold one, since a machine
    slept or the place creates no object exclusively, both make the same entry, each with files of its own."""

    def __init__(self, system: Any, folder: str, patiently: Callable[[Callable[[], Any]], Any]) -> None:
        self._system, self._folder, self._patiently = system, folder, patiently

    @contextmanager
    def hold(self, key: str, waiting: Callable[[], None], still: Callable[[], None]) -> Iterator[None]:
        """Hold the key's; `waiting` is called once where another has it, and `still` now and then, which may raise to give up."""
        path, me = f"{self._folder}/{key}", uuid.uuid4().hex
        seen, since = b"", time.monotonic()
        told = False
        while not self._patiently(lambda: self._take(path, me)):
            if not told:
                waiting()
                told = True
            still()
            found = self._patiently(lambda: self._read(path))
            if found != seen:
                seen, since = found, time.monotonic()
            elif time.monotonic() - since > LEASE:
                self._patiently(lambda: self._remove(path))
                continue
            time.sleep(LOOK)
        done = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(path, me, done), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            done.set()
            renewing.join()
            with suppress(Exception):  # it ends by itself
                if self._read(path).startswith(me.encode()):
                    self._remove(path)

    def _renew(self, path: str, me: str, done: threading.Event) -> None:
        turn = 0
        while not done.wait(LEASE / 3):
            turn += 1
            with suppress(Exception):  # the next turn may reach the place again
                if not self._read(path).startswith(me.encode()):
                    return  # we were taken for dead
                self._system.pipe_file(path, f"{me} {turn}".encode())

    def _take(self, path: str, me: str) -> bool:
        self._system.makedirs(self._folder, exist_ok=True)
        if self._read(path):
            return False
        try:
            self._system.pipe_file(path, f"{me} 0".encode(), mode="create")
        except FileExistsError:
            return False
        return self._read(path).startswith(me.encode())

    def _read(self, path: str) -> bytes:
        """Empty where there is none."""
        try:
            return bytes(self._system.cat_file(path))
        except FileNotFoundError:
            return b""

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._system.rm_file(path)
