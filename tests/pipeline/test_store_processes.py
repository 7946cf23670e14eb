"""Several processes at one store, some of which are killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from test_store import KEY, put

from enginesmith.pipeline.job.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@contextmanager
def child(work: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    """Runs `work(pipe)` in a process; yields its id, and where to read what it writes into the pipe."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            work(writer)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        yield pid, reader
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


def test_kill_in_the_middle_of_publishing(store):
    """Every entry is whole or not there, wherever the blow falls."""
    keys = [f"{number:02x}" + 62 * "0" for number in range(2)]

    def publish(pipe: int) -> None:
        os.write(pipe, b"x")
        while True:
            for key in keys:
                put(store, key, **{f"f{i}": os.urandom(2000) for i in range(10)})

    seen = set()
    chance = random.Random(0)
    for number in range(400):
        if number >= 40 and seen == set(keys):
            break
        with child(publish) as (_, pipe):
            os.read(pipe, 1)
            time.sleep(chance.uniform(0, 0.04))
        there = {folder.name for folder in (store.root / "entries").glob("*/*")}
        assert store.verify() == []
        assert there == {entry.key for entry, _ in store.entries()}
        seen |= there
    assert seen == set(keys)
    with store.workspace():
        pass
    left = [path for path in (store.root / "tmp").iterdir() if (path / "out").exists() or path.suffix == ".lock"]
    assert left == []


def test_the_second_waits_for_the_first_and_takes_its_result(store):
    def build(pipe: int) -> None:
        with store.lock(KEY):
            os.write(pipe, b"x")
            time.sleep(0.5)
            put(store)

    waited = []
    with child(build) as (_, pipe):
        os.read(pipe, 1)
        with store.lock(KEY, lambda: waited.append(1)):
            assert store.lookup(KEY) is not None
    assert waited == [1]


def test_a_free_lock_does_not_wait(store):
    with store.lock(KEY, lambda: pytest.fail("waited")):
        pass


def test_a_killed_holder_frees_the_lock(store):
    def hold(pipe: int) -> None:
        with store.lock(KEY):
            os.write(pipe, b"x")
            time.sleep(60)

    with child(hold) as (pid, pipe):
        os.read(pipe, 1)
        started = time.monotonic()
        with store.lock(KEY, lambda: os.kill(pid, signal.SIGKILL)):
            assert time.monotonic() - started < 30


def test_the_workspace_and_the_pins_of_a_killed_build_go(store):
    put(store)

    def work(pipe: int) -> None:
        with store.workspace() as folder:
            store.pin(folder, KEY)
            (folder / "big").write_bytes(b"x")
            os.write(pipe, b"x")
            time.sleep(60)

    with child(work) as (_, pipe):
        os.read(pipe, 1)
        assert store.gc(keep_bytes=0) == (0, 0)
        with store.workspace():  # a living one is left alone
            assert len(list((store.root / "tmp").glob("*/big"))) == 1
    assert store.gc(keep_bytes=0)[0] == 1
    assert list((store.root / "tmp").iterdir()) == []
