"""A shared place for entries, at any fsspec URL: `KEY/entry.json`, and `KEY/DIGEST/…` for the files.

The record is written last, and is what makes an entry.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.secrets import redacted
from enginesmith.pipeline.job.entry import ENTRY, Entry
from enginesmith.pipeline.job.leases import Leases

if TYPE_CHECKING:
    import fsspec

MARK = "enginesmith-store"
"""An empty file that says what the place is; making it shows that the place can be written."""
READ_ONLY = ("http", "https", "github", "git", "data")
ANSWER = 10.0
"""Seconds in which a place must answer for the first time. The clients of their own try for minutes."""

AWAY = 60.0
"""Seconds in which a place that has answered once may come back."""
FIRST_PAUSE = 0.25
"""Seconds, twice as many each time."""
LASTING = (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError)
"""Errors that no waiting mends."""
LEASES = "leases"

T = TypeVar("T")


class Remote:
    """Raises UserError for a URL that names no place which can be written."""

    def __init__(self, url: str) -> None:
        self.name = redacted(url)
        protocol = url.partition("://")[0]
        if not protocol:
            raise UserError(
                f"store {self.name}: no protocol before ://; give a folder, or a URL such as s3://bucket/path"
            )
        if protocol in READ_ONLY:
            raise UserError(
                f"store {self.name}: {protocol} can only be read; give a folder, or a URL such as s3://bucket/path"
            )
        self._system: fsspec.AbstractFileSystem
        self._system, self.root = _in_time(lambda: self._open(url), self.name)
        self.place = f"{self.name} {redacted(self.root)}"
        """Tells it from all others, whoever opens it."""

    def _open(self, url: str) -> tuple[Any, str]:
        import fsspec

        system, root = fsspec.core.url_to_fs(url)
        root = root.rstrip("/")
        if not system.exists(f"{root}/{MARK}"):
            system.makedirs(root, exist_ok=True)
            system.pipe_file(f"{root}/{MARK}", b"")
        return system, root

    def lease(self, key: str, waiting: Callable[[], None], still: Callable[[], None]) -> AbstractContextManager[None]:
        """Hold the key among all machines, as `Leases.hold`. Raises UserError."""
        return Leases(self._system, f"{self.root}/{LEASES}", self._patiently).hold(key, waiting, still)

    def upload(self, entry: Entry, record: bytes, files: Path) -> None:
        """Raises UserError."""
        target = f"{self.root}/{entry.key}"

        def upload() -> None:
            for name in entry.files:
                place = f"{target}/{entry.digest}/{name}"  # two builders of one key may differ: keep their files apart
                self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
                self._system.put_file(str(files / name), place)
            self._system.makedirs(target, exist_ok=True)
            self._system.pipe_file(f"{target}/{ENTRY}", record)

        self._patiently(upload)

    def record(self, key: str) -> bytes | None:
        """What `upload` wrote, or others did; None for an unknown key. Raises UserError."""

        def record() -> bytes | None:
            try:
                return bytes(self._system.cat_file(f"{self.root}/{key}/{ENTRY}"))
            except FileNotFoundError:
                return None

        return self._patiently(record)

    def download(self, entry: Entry, files: Path) -> bool:
        """False where one of the entry's files is missing. Raises UserError."""

        def download() -> bool:
            for name in entry.files:
                target = files / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._system.get_file(f"{self.root}/{entry.key}/{entry.digest}/{name}", str(target))
                except FileNotFoundError:
                    return False
            return True

        return self._patiently(download)

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do it, and again for a minute where the place doesn't answer. Whatever an fsspec file system raises is a place
        that can't be reached or written, told in a UserError; a full disk of ours isn't."""
        end, pause = time.monotonic() + AWAY, FIRST_PAUSE
        while True:
            try:
                return work()
            except Exception as error:  # each file system has errors of its own
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    raise
                if isinstance(error, LASTING) or time.monotonic() + pause > end:
                    raise UserError(
                        f"the shared store {self.name} fails: {type(error).__name__}: {first_line(error)}"
                    ) from None
            time.sleep(pause)
            pause *= 2


def _in_time(call: Callable[[], T], name: str) -> T:
    """Raises UserError where that fails or takes too long."""
    found: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            failed.append(error)

    # a thread, because the system's name look-up and some clients know no time-out
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ANSWER)
    if found:
        return found[0]
    reason = f"{type(failed[0]).__name__}: {first_line(failed[0])}" if failed else f"no answer within {ANSWER:g} s"
    raise UserError(f"can't open the store {name} ({reason}); give a folder, or a URL that can be written")
