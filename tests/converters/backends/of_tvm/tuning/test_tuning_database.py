"""A database of measurements: kept whole, refused where it is for something else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enginesmith.converters.backends.tvm.tuning.database import Choice, Database, Header, Record
from enginesmith.converters.core.errors import UserError

HEADER = Header(tvm="0.27.0", kernels="abc", target="x86-64-v3")


def record(number: int) -> Record:
    return Record(
        workload=f"w{number}", label="a kernel", threads=1, schedule={"rows": number}, milliseconds=0.5,
        default_milliseconds=1.0,
    )  # fmt: skip


def test_what_was_written_is_read(tmp_path: Path) -> None:
    database = Database(tmp_path / "deep" / "db.jsonl", HEADER)
    assert not database.path.exists()
    choice = Choice(geometry="g", label="3x3", threads=1, milliseconds={0: 2.0, 4: 1.0})
    for entry in (record(1), choice, record(2)):
        database.add(entry)
    assert list(Database(database.path, HEADER).read()) == [record(1), choice, record(2)]
    assert record(1).ratio == 0.5


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_was_cut_short_is_no_record(tmp_path: Path, cut: int) -> None:
    database = Database(tmp_path / "db.jsonl", HEADER)
    database.add(record(1))
    database.add(record(2))
    database.path.write_bytes(database.path.read_bytes()[:-cut])
    again = Database(database.path, HEADER)
    again.add(record(3))
    found = [entry.workload for entry in again.read() if isinstance(entry, Record)]
    assert found == (["w1", "w2", "w3"] if cut == 1 else ["w1", "w3"])


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"tvm": "0.28"}, "TVM"), ({"kernels": "abd"}, "kernels"), ({"target": "x86-64-v4"}, "target"), ({"format": 2}, "format")],
)  # fmt: skip
def test_another_version_or_target_is_refused_and_kept(tmp_path: Path, changed: dict[str, str], word: str) -> None:
    database = Database(tmp_path / "db.jsonl", HEADER)
    database.add(record(1))
    content = database.path.read_bytes()
    with pytest.raises(UserError, match=word):
        Database(database.path, HEADER.model_copy(update=changed))
    assert database.path.read_bytes() == content


def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk\nbread\n")
    with pytest.raises(UserError, match="no tuning database"):
        Database(path, HEADER)
    assert path.read_text() == "milk\nbread\n"


def test_several_write_at_once(tmp_path: Path) -> None:
    def write(first: int) -> None:
        database = Database(tmp_path / "db.jsonl", HEADER)
        for number in range(first, first + 20):
            database.add(record(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(0, 80, 20)))
    found = {entry.workload for entry in Database(tmp_path / "db.jsonl", HEADER).read() if isinstance(entry, Record)}
    assert found == {f"w{number}" for number in range(80)}
