"""The artifact store: a stage's outputs under the hash of everything that they depend on.

Layout below the root: `entries/ab/abcdef…/{entry.json, files/…}`, `locks/`, `tmp/`, `timing/`. An entry appears whole by
one rename, so a killed builder leaves nothing half. Another place for the same entries, any fsspec URL (`s3://…`), can
stand behind the local root and be shared by a farm (`remote`).
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import FileRecord, hash_file
from enginesmith.converters.core.hashing import hash_value
from enginesmith.converters.core.stamps import Stamp, stamp
from enginesmith.pipeline.job.entry import ENTRY, Entry, sealed, unsealed
from enginesmith.pipeline.job.remote import Remote

WAIT = 0.5
"""Seconds between looks at whether to go on waiting for a lock."""


class Store:
    """`location` is a local folder, or an fsspec URL that is then mirrored in a folder of its own in the user's cache."""

    def __init__(self, location: str | Path | None = None) -> None:
        text = str(location or os.environ.get("ENGINESMITH_STORE") or "")
        self._remote = Remote(text) if "://" in text and not text.startswith("file://") else None
        if self._remote is not None:
            # a folder for each: what others can write in one place must not be found by builds of another
            self.root = user_cache_path("enginesmith") / "stores" / hash_value(self._remote.place)[:16]
        elif text:
            self.root = Path(text.removeprefix("file://")).absolute()
        else:
            self.root = user_cache_path("enginesmith") / "store"
        self.address = text if self._remote is not None else str(self.root)
        """By which another machine opens the same store; it may have a password in it."""
        self.make_folders()

    def make_folders(self) -> None:
        """Raises UserError where they can't be written."""
        try:
            for folder in ("entries", "locks", "tmp", "timing"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def files(self, key: str) -> Path:
        """Folder of an entry's files."""
        return self._folder(key) / "files"

    def timing(self, stage: str, backend: str) -> Path:
        """Folder of a stage's timing caches, which outlive every build."""
        return self.root / "timing" / stage / (backend or "-")

    def lookup(self, key: str) -> Entry | None:
        """The entry, with every file checked against its hash. None for a damaged one: `publish` takes its place."""
        entry = self._sound(self._read(key))
        if entry is None and self._remote is not None:
            with self.lock(f"{key}-download"):
                entry = self._sound(self._read(key)) or self._sound(self._download(self._remote, key))
        if entry is not None:
            self._touch(key)
        return entry

    def holds(self, entry: Entry) -> bool:
        """Whether the files here are what the entry says."""
        folder = self.files(entry.key)

        def whole(item: tuple[str, FileRecord]) -> bool:
            name, record = item
            try:
                return (folder / name).stat().st_size == record.size and hash_file(folder / name) == record.sha256
            except OSError:
                return False

        with ThreadPoolExecutor(max_workers=4) as pool:  # hashing frees the interpreter's lock
            return all(pool.map(whole, entry.files.items()))

    def stamps(self, entry: Entry) -> dict[str, Stamp | None]:
        """Of the entry's files: other ones as soon as somebody has written to them."""
        return {name: stamp(self.files(entry.key) / name) for name in entry.files}

    @contextmanager
    def lock(
        self, key: str, waiting: Callable[[], None] = lambda: None, still: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Hold the key; if another process has it, `waiting` is called once, and `still` now and then, which may raise to
        give up. Freed by the kernel if we die.
        """
        lock = FileLock(self.root / "locks" / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            while not lock.is_locked:
                still()
                with suppress(Timeout):
                    lock.acquire(timeout=WAIT)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def claim(self, key: str, waiting: Callable[[], None], still: Callable[[], None]) -> Iterator[None]:
        """Hold the key, to make its entry, among all processes here and all machines that share the store; as `lock`."""
        with self.lock(key, waiting, still), self._remote.lease(key, waiting, still) if self._remote else nullcontext():
            yield

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder on the store's file system that is removed at the end, or by the next run if we are killed."""
        folder = self.root / "tmp" / uuid.uuid4().hex
        lock = FileLock(self.root / "tmp" / f"{folder.name}.lock")
        try:
            self._sweep()
            lock.acquire()
            folder.mkdir()
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def pin(self, workspace: Path, key: str) -> None:
        """Keep `gc` from removing the entry as long as the workspace lives."""
        pins = workspace / "pins"
        pins.mkdir(exist_ok=True)
        (pins / key).touch()

    def pinned(self, key: str) -> bool:
        """Does a running build need the entry?"""
        return any((self.root / "tmp").glob(f"*/pins/{key}"))

    def publish(self, entry: Entry, files: Path) -> None:
        """Move the folder `files` (on this file system) into the store as the files of `entry`."""
        staging = files.parent / f"entry-{entry.key}"
        staging.mkdir()
        files.rename(staging / "files")
        record = sealed(entry)
        _write_synced(staging / ENTRY, record)
        self._place(staging, entry.key)
        if self._remote is not None:
            self._remote.upload(entry, record, self.files(entry.key))

    def entries(self) -> Iterator[tuple[Entry, float]]:
        """All local entries with the time of their last use (seconds since the epoch), oldest use first."""
        found = []
        for folder in (self.root / "entries").glob("*/*"):
            entry = self._read(folder.name)
            if entry is not None:
                with suppress(FileNotFoundError):  # another process removes it
                    found.append((entry, (folder / ENTRY).stat().st_mtime))
        yield from sorted(found, key=lambda pair: pair[1])

    def remove(self, key: str) -> None:
        """Take an entry out: in one rename, then at leisure."""
        grave = self.root / "tmp" / uuid.uuid4().hex
        try:
            self._folder(key).rename(grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave, ignore_errors=True)

    def gc(self, keep_bytes: int | None = None, older_than: float | None = None) -> tuple[int, int]:
        """Remove entries, least recently used first, until at most `keep_bytes` are left, and all that were not used
        for `older_than` seconds. Entries that a running build has pinned stay. Returns entries and bytes removed.
        """
        self._sweep()
        entries = list(self.entries())
        total = sum(entry.size for entry, _ in entries)
        removed = freed = 0
        for entry, used in entries:
            stale = older_than is not None and time.time() - used > older_than
            over = keep_bytes is not None and total > keep_bytes
            if not (stale or over) or self.pinned(entry.key):
                continue
            self.remove(entry.key)
            total -= entry.size
            freed += entry.size
            removed += 1
        return removed, freed

    def verify(self) -> list[str]:
        """Check every entry's files; damaged entries are removed, and their keys returned."""
        keys = sorted(folder.name for folder in (self.root / "entries").glob("*/*"))
        damaged = [key for key in keys if self._sound(self._read(key)) is None]
        for key in damaged:
            self.remove(key)
        return damaged

    def _folder(self, key: str) -> Path:
        return self.root / "entries" / key[:2] / key

    def _read(self, key: str) -> Entry | None:
        try:
            entry = unsealed((self._folder(key) / ENTRY).read_bytes())
        except OSError:
            return None
        return entry if entry is not None and entry.key == key else None

    def _place(self, staging: Path, key: str) -> None:
        """Make a whole folder the entry, in place of any that is there."""
        final = self._folder(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        self.remove(key)
        staging.rename(final)

    def _unwritable(self, error: OSError) -> Exception:
        if error.errno == errno.ENOSPC:
            return error
        reason = error.strerror or error
        return UserError(
            f"can't write the store {self.root} ({reason}); set ENGINESMITH_STORE to a folder that you can write"
        )

    def _touch(self, key: str) -> None:
        try:
            os.utime(self._folder(key) / ENTRY)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):  # a shared store may be read-only
                raise

    def _sound(self, entry: Entry | None) -> Entry | None:
        return entry if entry is not None and self.holds(entry) else None

    def _sweep(self) -> None:
        """Remove the workspaces of killed runs: those whose lock nobody holds."""
        for path in (self.root / "tmp").glob("*.lock"):
            lock = FileLock(path)
            try:
                with lock.acquire(timeout=0):
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                    path.unlink(missing_ok=True)
            except Timeout:
                continue
        for path in (self.root / "tmp").iterdir():  # what a killed `remove` left
            orphan = path.is_dir() and not path.with_name(path.name + ".lock").exists()
            if orphan and time.time() - path.stat().st_mtime > 3600:
                shutil.rmtree(path, ignore_errors=True)

    def _download(self, remote: Remote, key: str) -> Entry | None:
        record = remote.record(key)
        entry = unsealed(record) if record else None
        if record is None or entry is None or entry.key != key:
            return None
        with self.workspace() as folder:
            staging = folder / "entry"
            (staging / "files").mkdir(parents=True)
            if not remote.download(entry, staging / "files"):
                return None
            _write_synced(staging / ENTRY, record)
            self._place(staging, key)
        return self._read(key)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
