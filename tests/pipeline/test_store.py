"""The store keeps what was put in, notices damage, and forgets what is old."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
import time

import pytest

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.files import FileRecord, record_files
from enginesmith.pipeline.job import leases, remote
from enginesmith.pipeline.job import store as store_module
from enginesmith.pipeline.job.entry import ENTRY, Entry
from enginesmith.pipeline.job.store import Store

KEY = "ab" + 62 * "0"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store: Store, key: str = KEY, **files: bytes) -> Entry:
    """Publish an entry with the files given (`__` stands for a slash)."""
    with store.workspace() as folder:
        out = folder / "out"
        for name, content in (files or {"model": b"graph", "sub__data": b"weights"}).items():
            path = out / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        entry = Entry(
            key=key,
            id="s",
            stage="s",
            files=record_files(out),
            facts=Facts(note="n"),
            seconds=1,
            peak_memory_mb=1,
            tools={},
        )
        store.publish(entry, out)
    return entry


def test_what_was_put_in_comes_out(store):
    entry = put(store)
    assert store.lookup(KEY) == entry
    assert (store.files(KEY) / "sub" / "data").read_bytes() == b"weights"
    assert entry.size == len(b"graph" + b"weights")
    assert store.verify() == []
    assert list((store.root / "tmp").iterdir()) == []


def test_an_unknown_key_is_none(store):
    assert store.lookup(KEY) is None


def test_an_entry_without_files(store):
    with store.workspace() as folder:
        (folder / "out").mkdir()
        entry = Entry(key=KEY, id="s", stage="s", files={}, facts=Facts(), seconds=1, peak_memory_mb=1, tools={})
        store.publish(entry, folder / "out")
    assert store.lookup(KEY) == entry


def test_the_digest_is_of_the_content(store):
    first = put(store, a=b"1", b=b"2")
    assert put(store, KEY[::-1], b=b"2", a=b"1").digest == first.digest
    assert put(store, a=b"2", b=b"1").digest != first.digest


def damage_content(folder):
    (folder / "files" / "model").write_bytes(b"grapf")


def truncate(folder):
    os.truncate(folder / "files" / "model", 2)


def remove(folder):
    (folder / "files" / "sub" / "data").unlink()


def replace_by_folder(folder):
    (folder / "files" / "model").unlink()
    (folder / "files" / "model").mkdir()


def garbage_record(folder):
    (folder / ENTRY).write_bytes(b"\xff{]")


def half_record(folder):
    text = (folder / ENTRY).read_text()
    (folder / ENTRY).write_text(text[: len(text) // 2])


def no_record(folder):
    (folder / ENTRY).unlink()


def record_of_another(folder):
    (folder / ENTRY).write_text((folder / ENTRY).read_text().replace(KEY, KEY[::-1]))


DAMAGES = [
    damage_content,
    truncate,
    remove,
    replace_by_folder,
    garbage_record,
    half_record,
    no_record,
    record_of_another,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_noticed_and_replaced(store, damage):
    entry = put(store)
    damage(store.files(KEY).parent)
    assert store.lookup(KEY) is None
    put(store)
    assert store.lookup(KEY) == entry
    assert store.verify() == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_verify_removes_what_is_damaged_and_nothing_else(store, damage):
    put(store)
    put(store, KEY[::-1])
    damage(store.files(KEY).parent)
    assert store.verify() == [KEY]
    assert not store.files(KEY).parent.exists()
    assert store.lookup(KEY[::-1]) is not None
    assert store.verify() == []


def test_a_failed_publish_leaves_the_store_whole(store, monkeypatch):
    """Wherever it fails, the old entry or none is there."""

    def full(path, text):
        path.write_bytes(text[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "_write_synced", full)
    with pytest.raises(OSError, match="No space"):
        put(store)
    assert store.lookup(KEY) is None
    assert store.verify() == []
    assert list((store.root / "entries").glob("*/*")) == []
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/../../outside"])
def test_a_record_cannot_reach_outside(store, name):
    record = {name: FileRecord(sha256="", size=0)}
    with pytest.raises(ValueError, match="outside the entry"):
        Entry(key=KEY, id="s", stage="s", files=record, facts=Facts(), seconds=1, peak_memory_mb=1, tools={})


def age(store: Store, key: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(store.files(key).parent / ENTRY, (then, then))


def keys(store: Store) -> list[str]:
    return [entry.key for entry, _ in store.entries()]


@pytest.fixture
def three(store):
    """Entries of 100 bytes, a to c, last used 3, 2 and 1 hours ago."""
    for hours, key in ((1, "cc"), (2, "bb"), (3, "aa")):
        put(store, key, data=100 * b"x")
        age(store, key, 3600 * hours)
    return store


def test_entries_are_listed_oldest_use_first(three):
    assert keys(three) == ["aa", "bb", "cc"]


@pytest.mark.parametrize(("limit", "left"), [(300, "aabbcc"), (299, "bbcc"), (200, "bbcc"), (150, "cc"), (0, "")])
def test_gc_by_size_removes_the_least_recently_used(three, limit, left):
    removed, freed = three.gc(keep_bytes=limit)
    assert "".join(keys(three)) == left
    assert (removed, freed) == (3 - len(left) // 2, 300 - 50 * len(left))


def test_gc_by_age(three):
    assert three.gc(older_than=2.5 * 3600) == (1, 100)
    assert keys(three) == ["bb", "cc"]


def test_a_look_up_is_a_use(three):
    three.lookup("aa")
    three.gc(keep_bytes=100)
    assert keys(three) == ["aa"]


def test_gc_keeps_what_a_running_build_has_pinned(three):
    with three.workspace() as workspace:
        three.pin(workspace, "aa")
        assert three.gc(keep_bytes=0) == (2, 200)
        assert keys(three) == ["aa"]
    assert three.gc(keep_bytes=0) == (1, 100)


def test_a_workspace_is_gone_afterwards_also_after_an_error(store):
    def fail():
        with store.workspace() as folder:
            (folder / "file").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list((store.root / "tmp").iterdir()) == []


def test_what_a_killed_removal_left_is_swept_when_old(store):
    old, young = store.root / "tmp" / "old", store.root / "tmp" / "young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    with store.workspace():
        assert not old.exists()
        assert young.exists()


def test_a_store_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write the store .*file/store .*ENGINESMITH_STORE"):
        Store(tmp_path / "file" / "store")


def test_a_read_only_store_lists_but_does_not_build(small_disk):
    disk = small_disk("1m")
    put(Store(disk))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    store = Store(disk)
    assert keys(store) == [KEY]
    assert store.lookup(KEY) is not None
    with pytest.raises(UserError, match=r"can't write the store .*Read-only"), store.workspace():
        pass


def test_the_environment_names_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("ENGINESMITH_STORE", f"file://{tmp_path}/elsewhere")
    assert Store().root == tmp_path / "elsewhere"
    assert Store(tmp_path / "given").root == tmp_path / "given"


@pytest.fixture(params=["local://", "memory://"])
def farm(request, tmp_path, monkeypatch):
    """Opens the shared store on the machine called `name`."""
    place = "memory://farm" + tmp_path.name if request.param == "memory://" else f"local://{tmp_path}/farm"

    def machine(name: str) -> Store:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return Store(place)

    return machine


def test_a_farm_shares_entries(farm):
    entry = put(farm("one"))
    other = farm("two")
    assert keys(other) == []
    assert other.lookup(KEY) == entry
    assert (other.files(KEY) / "sub" / "data").read_bytes() == b"weights"
    assert keys(other) == [KEY]
    assert other.lookup(KEY[::-1]) is None
    assert list((other.root / "tmp").iterdir()) == []


def test_a_damaged_copy_is_fetched_again(farm):
    entry = put(farm("one"))
    other = farm("two")
    other.lookup(KEY)
    damage_content(other.files(KEY).parent)
    assert other.lookup(KEY) == entry


def test_two_builders_of_one_key_do_not_mix_their_files(farm):
    put(farm("one"), a=b"1", b=b"1")
    second = put(farm("two"), a=b"2", b=b"2")
    assert farm("three").lookup(KEY) == second


def test_what_is_damaged_in_the_farm_counts_as_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    place = f"local://{tmp_path}/farm"
    entry = put(Store(place))
    (blob,) = (tmp_path / "farm" / KEY).glob("*/model")
    blob.write_bytes(b"grapf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    store = Store(place)
    assert store.lookup(KEY) is None
    put(store)
    shutil.rmtree(store.files(KEY).parent)
    assert store.lookup(KEY) == entry
    blob.unlink()
    shutil.rmtree(store.files(KEY).parent)
    assert store.lookup(KEY) is None


def test_a_farm_that_fails_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    store = Store(f"local://{tmp_path}/farm")
    shutil.rmtree(tmp_path / "farm")
    (tmp_path / "farm").touch()
    with pytest.raises(UserError, match=r"the shared store .*farm fails"):
        put(store)


def test_one_machine_makes_a_key_and_the_others_wait(farm):
    first, second = farm("one"), farm("two")
    told: list[str] = []
    inside = threading.Event()

    def other() -> None:
        with second.claim(KEY, lambda: told.append("waits"), lambda: None):
            told.append("has it")
            inside.set()

    thread = threading.Thread(target=other)
    with first.claim(KEY, lambda: told.append("first waits"), lambda: None):
        thread.start()
        assert not inside.wait(1.5)
        told.append("done")
    thread.join(20)
    assert told == ["waits", "done", "has it"]
    with first.claim(KEY, lambda: told.append("left behind"), lambda: None):
        assert told[-1] == "has it"


def test_the_lease_of_a_dead_machine_ends_and_that_of_a_slow_one_does_not(farm, monkeypatch):
    monkeypatch.setattr(leases, "LEASE", 1.2)
    first, second = farm("one"), farm("two")
    waited: list[str] = []
    with monkeypatch.context() as dead:
        dead.setattr(leases.Leases, "_renew", lambda *told: None)
        dead.setattr(leases.Leases, "_remove", lambda *told: None)
        with first.claim(KEY, lambda: None, lambda: None):
            pass  # it dies with the lease in its hand
    started = time.monotonic()
    with second.claim(KEY, lambda: waited.append("second"), lambda: None):
        assert time.monotonic() - started > 1.2
        assert waited == ["second"]
        done = threading.Event()

        def other() -> None:
            with farm("three").claim(KEY, lambda: waited.append("third"), lambda: None):
                done.set()

        thread = threading.Thread(target=other)
        thread.start()
        assert not done.wait(3), "the second renews its lease"
    assert done.wait(10)
    thread.join()


def test_who_waits_for_a_lease_can_give_up(farm):
    class Enough(Exception):
        pass

    def give_up() -> None:
        raise Enough

    first, second = farm("one"), farm("two")
    with first.claim(KEY, lambda: None, lambda: None), pytest.raises(Enough), second.claim(KEY, lambda: None, give_up):
        pass


def test_a_place_that_is_away_for_a_while_costs_time_alone(farm, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    store = farm("one")
    system = store._remote._system
    entry = put(store)
    answers = iter([TimeoutError("slow"), OSError(503, "busy"), ConnectionError("reset")])
    given = type(system).cat_file

    def cat_file(self, *arguments, **how):
        if error := next(answers, None):
            raise error
        return given(self, *arguments, **how)

    monkeypatch.setattr(type(system), "cat_file", cat_file)
    assert farm("two").lookup(KEY) == entry
    monkeypatch.setattr(remote, "AWAY", 0.1)
    answers = iter([TimeoutError("gone")] * 99)
    with pytest.raises(UserError, match=r"the shared store .* fails: TimeoutError: gone"):
        farm("three").lookup(KEY)
