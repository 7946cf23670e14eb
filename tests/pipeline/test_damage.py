"""The store keeps only what it says, whatever happens to it and to the user's files while a build runs.

Each blow falls at an exact moment: within a worker, or at an event of the build.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Probes

from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.job.entry import ENTRY
from enginesmith.pipeline.job.store import Store

MAKE = "(context.out / 'file').write_text('1')"
PASS_ON = "(context.out / 'file').write_bytes((inputs['before'] / 'file').read_bytes() + b'2')"
ONCE = """
import os
from pathlib import Path
if not Path({mark!r}).exists():
    Path({mark!r}).touch()
    {blow}
"""


def statuses(build) -> dict[str, str]:
    return {record.id: record.status for record in build.records}


def content(probes: Probes, build, stage: str) -> str:
    return (probes.store.files(build.entries[stage].key) / "file").read_text()


def warnings(probes: Probes) -> list[str]:
    return [event.text for event in probes.events if event.event == "warning"]


@pytest.fixture
def once(tmp_path: Path) -> Callable[[str], str]:
    """Code of a stage that strikes the first time that it runs, before it reads its input."""
    return lambda blow: ONCE.format(mark=str(tmp_path / "struck"), blow=blow.replace("\n", "\n    "))


FLIP = "file = inputs['before'] / 'file'; was = file.stat(); file.write_text('9'); "
BACK = "os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))"


def test_an_input_that_is_damaged_before_the_worker_reads_is_made_again(probes):
    """Between its look-up and the next stage's start."""

    def strike(event) -> None:
        if (event.event, event.stage) == ("start", "b"):
            (next((probes.store.root / "entries").glob("*/*/files")) / "file").write_text("9")

    probes.events = Listener(strike)
    build = probes.build(a=MAKE, b=PASS_ON)
    assert content(probes, build, "b") == "12"
    assert warnings(probes) == ["what a left in the store was written to after it was looked up; made again"]
    assert probes.store.verify() == []


class Listener(list):
    """Events, with something done at each."""

    def __init__(self, act: Callable[[object], None]) -> None:
        super().__init__()
        self._act = act

    def append(self, event) -> None:
        super().append(event)
        self._act(event)


def test_an_input_that_is_damaged_while_the_worker_reads_is_made_again(probes, once):
    build = probes.build(a=MAKE, b=once(FLIP + BACK) + PASS_ON)
    assert (content(probes, build, "a"), content(probes, build, "b")) == ("1", "12")
    assert statuses(build) == {"a": "built", "b": "built"}
    assert warnings(probes) == ["what a left in the store was written to after it was looked up; made again"]
    assert probes.store.verify() == []


def test_an_input_that_is_damaged_and_mended_while_the_worker_reads_is_read_again(probes, once):
    """The wrong content is gone when it is looked for; the worker has read it."""
    restored = "\nif file.read_text() != '1': file.write_text('1')"
    code = once(FLIP) + PASS_ON + "\nfile = inputs['before'] / 'file'" + restored
    build = probes.build(a=MAKE, b=code)
    assert (content(probes, build, "a"), content(probes, build, "b")) == ("1", "12")
    assert warnings(probes) == ["what a left in the store was written to after it was looked up; read again"]


def test_damage_that_makes_the_worker_fail_is_not_the_models_fault(probes, once):
    build = probes.build(a=MAKE, b=once(f"{FLIP}raise ValueError('the graph is nonsense')") + PASS_ON)
    assert build.success
    assert content(probes, build, "b") == "12"


def test_damage_of_an_input_of_an_input_is_made_again(probes, once):
    blow = """
root = inputs['before'].parents[3]
for file in root.glob('entries/*/*/files/file'): file.write_text('9')
"""
    build = probes.build(a=MAKE, b=PASS_ON, c=once(blow) + PASS_ON)
    assert [content(probes, build, stage) for stage in "abc"] == ["1", "12", "122"]
    assert probes.store.verify() == []


def test_damage_without_end_is_one_line(probes):
    record = probes.build(a=MAKE, b="import os\n" + FLIP + BACK).records[1]
    assert record.status == "failed"
    assert record.error == f"what it needs was damaged in the store {probes.store.root}, and could not be made again"
    assert [entry.id for entry, _ in probes.store.entries()] == ["a"]


@pytest.mark.parametrize("part", ["", "entries", "locks", "tmp"])
def test_a_store_that_is_deleted_is_filled_again(probes, once, part):
    blow = f"import shutil; shutil.rmtree(inputs['before'].parents[3] / {part!r})"
    build = probes.build(a=MAKE, b=PASS_ON, c=once(blow) + PASS_ON, d=PASS_ON)
    assert build.success, build.records
    assert content(probes, build, "d") == "1222"
    assert not build.bugs
    assert statuses(probes.build(a=MAKE, b=PASS_ON)).keys() == {"a", "b"}
    assert probes.store.verify() == []


def test_a_product_that_is_lost_before_it_is_published_is_noticed(probes, once):
    """A deletion in progress may take a file of a folder that the builder then moves into the store."""

    def strike(event) -> None:
        if (event.event, event.stage) == ("built", "a"):
            (entry,) = (probes.store.root / "entries").glob("*/*/files/more")
            entry.unlink()

    probes.events = Listener(strike)
    build = probes.build(a=MAKE + "; (context.out / 'more').touch()", b=PASS_ON)
    assert content(probes, build, "b") == "12"
    assert (probes.store.files(build.entries["a"].key) / "more").exists()


def test_a_bit_of_a_record_that_flips_is_noticed(probes):
    """Whatever a stage has told is in there, not its files alone."""
    first = probes.build(a=MAKE)
    record = probes.store.files(first.entries["a"].key).parent / ENTRY
    text = record.read_text()
    assert json.loads(text)["facts"]["note"] == "done"
    for old, new in (
        ("done", "dune"),
        ('"seconds": ', '"seconds": 1'),
        ("built", "b"),
        ('"stage": "probe"', '"stage": "Probe"'),
    ):
        record.write_text(text.replace(old, new, 1))
        assert (probes.store.lookup(first.entries["a"].key) is None) == (old in text)
    assert statuses(probes.build(a=MAKE)) == {"a": "built"}


def test_a_remote_store_has_a_mirror_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, two = Store(f"local://{tmp_path}/one"), Store(f"local://{tmp_path}/two")
    assert len({one.root, two.root, Store(f"local://{tmp_path}/one").root, tmp_path / "cache/enginesmith/store"}) == 3


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nosuch://bucket", "Protocol not known: nosuch"),
        ("://", "no protocol before ://"),
        ("http://127.0.0.1:9/x", "http can only be read"),
        ("https://user:hunter2@127.0.0.1:9/x", "https can only be read"),
        ("github://x", "github can only be read"),
        ("ftp://user:hunter2@127.0.0.1:9/x", "Connection refused"),
        ("zip://x", "give a folder, or a URL"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line(url, says, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        Store(url)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_answer_is_given_up(monkeypatch, tmp_path):
    import threading

    from fsspec.implementations.memory import MemoryFileSystem

    from enginesmith.pipeline.job import remote

    ended = threading.Event()
    monkeypatch.setattr(remote, "ANSWER", 0.1)
    monkeypatch.setattr(MemoryFileSystem, "exists", lambda *arguments: ended.wait(20))
    with pytest.raises(UserError, match=r"can't open the store memory://silent \(no answer within 0.1 s\)"):
        Store("memory://silent")
    ended.set()


def test_errors_of_a_file_system_that_are_no_os_errors_are_one_line(monkeypatch, tmp_path):
    """As botocore's are."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Store("memory://refuses")

    def refuse(*arguments) -> None:
        raise RuntimeError("AccessDenied: s3://key:secret@bucket")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    with pytest.raises(
        UserError, match=r"the shared store memory://refuses fails: RuntimeError: AccessDenied: s3://\*\*\*@"
    ):
        store.lookup("ab" + 62 * "0")


@pytest.mark.parametrize("blow", ["flip", "truncate", "delete"])
def test_a_damaged_engine_in_the_results_is_replaced(tiny, blow):
    """Also where its size and its time are those of the good one."""
    engine = tiny.folder / tiny.manifest.engines[0].path
    good, before = engine.read_bytes(), engine.stat()
    if blow == "delete":
        engine.unlink()
    else:
        engine.write_bytes(good[:-1] if blow == "truncate" else good[:-1] + bytes([good[-1] ^ 1]))
        os.utime(engine, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert tiny.shell.run(*tiny.again).returncode == 0
    assert engine.read_bytes() == good


def test_passwords_of_a_store_reach_no_file(tiny, tmp_path):
    """Neither what is written beside the engines, nor the terminal, nor a worker."""
    (tmp_path / "net.py").write_text(
        "import os, torch\n"
        "def make():\n    print(sorted(os.environ.items()))\n    return torch.nn.Linear(4, 2), torch.zeros(1, 4)\n"
    )
    url = f"local://user:hunter2@{tmp_path}/farm"
    shell = type(tiny.shell)(
        tmp_path, tmp_path / "unused", {"ENGINESMITH_STORE": url, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    )
    done = shell.run("build", "net.py:make", "--store", url, "--backend", "tvm", "--measure", "0", "--out", "out")
    assert done.returncode == 0, done
    told = [path for path in tmp_path.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert (told, "hunter2" in done.stdout + done.stderr) == ([], False)
    assert "local://***@" in (tmp_path / "out" / "manifest.json").read_text()
    shutil.rmtree(tmp_path / "farm", ignore_errors=True)
