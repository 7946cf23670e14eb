"""What is read is what was hashed, or nothing is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.stamps import content_hash, hashed, stamp, unchanged


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"A" * 100)
    return path


def in_place(path: Path) -> None:
    path.write_bytes(b"B" * 100)


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"B" * 100)
    other.replace(path)


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)


def linked(path: Path) -> None:
    """Written to by another name."""
    other = path.with_name("link")
    os.link(path, other)
    in_place(other)


SWAPS = [in_place, replaced, one_bit, linked]


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
def test_a_swap_before_the_read_is_noticed(file: Path, swap: Callable[[Path], None]) -> None:
    digest = hash_file(file)
    swap(file)
    with (
        pytest.raises(UserError, match="file has changed since the build was planned; build again"),
        unchanged({file: digest}),
    ):
        pytest.fail("nothing may be read")


@pytest.mark.parametrize("back", [False, True], ids=["stays", "and back"])
@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
def test_a_swap_in_the_middle_is_noticed_with_size_and_time_set_back(
    file: Path, swap: Callable[[Path], None], back: bool
) -> None:
    before, content = file.stat(), file.read_bytes()

    def read() -> None:
        swap(file)
        if back:
            file.write_bytes(content)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    with (
        pytest.raises(UserError, match="file was written to while it was read; build again"),
        unchanged({file: hash_file(file)}),
    ):
        read()


def test_a_file_that_goes_is_noticed(file: Path) -> None:
    digest = hash_file(file)
    with pytest.raises(UserError, match="written to while it was read"), hashed([file]):
        file.unlink()
    with pytest.raises(UserError, match="file is gone since the build was planned"), unchanged({file: digest}):
        pytest.fail("nothing may be read")


def test_reading_is_no_change(file: Path) -> None:
    with unchanged({str(file): hash_file(file)}):
        file.read_bytes()
        assert stamp(file) == stamp(file)


@pytest.mark.parametrize("change", ["write", "add", "remove", "rename"])
def test_a_folder_is_its_files(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "sub" / "b").write_text("2")
    digest = content_hash(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_text("3")
    with unchanged({folder: digest}):
        pass
    if change == "write":
        (folder / "sub" / "b").write_text("4")
    elif change == "add":
        (folder / "c").write_text("")
    elif change == "remove":
        (folder / "a").unlink()
    else:
        (folder / "a").rename(folder / "d")
    with pytest.raises(UserError, match="has changed since the build was planned"), unchanged({folder: digest}):
        pass
