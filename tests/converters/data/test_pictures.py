"""The packaged pictures: complete, licensed, small, and loaded the same every time."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from enginesmith.converters.data import pictures


def test_names_are_the_files() -> None:
    files = {entry.name for entry in resources.files(pictures).iterdir() if entry.name.endswith(".jpg")}
    assert files == {f"{name}.jpg" for name in pictures.names()}
    assert len(pictures.names()) == len(set(pictures.names())) == 8


def test_every_picture_has_its_licence() -> None:
    rows = [line.split("|") for line in (resources.files(pictures) / "LICENSES.md").read_text().splitlines()]
    licences = {row[1].strip(" `"): row[5].strip() for row in rows if len(row) == 7}
    for name in pictures.names():
        assert licences[f"{name}.jpg"].startswith(("CC0", "public domain"))


def test_pictures_are_small_and_carry_no_metadata() -> None:
    from PIL import Image

    assert sum(pictures.path(name).stat().st_size for name in pictures.names()) < 900_000
    for name in pictures.names():
        with Image.open(pictures.path(name)) as picture:
            assert picture.format == "JPEG"
            assert max(picture.size) <= 640
            assert not picture.getexif()


@pytest.mark.parametrize("name", pictures.names())
@pytest.mark.parametrize("shape", [(64, 64), (320, 480), (1, 7)])
def test_load(name: str, shape: tuple[int, int]) -> None:
    picture = pictures.load(name, *shape)
    assert picture.shape == (*shape, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    assert picture.flags.c_contiguous
    np.testing.assert_array_equal(picture, pictures.load(name, *shape))


def test_pictures_differ_and_are_not_blank() -> None:
    loaded = [pictures.load(name, 96, 96).astype(np.float32) for name in pictures.names()]
    for number, picture in enumerate(loaded):
        assert picture.std() > 10
        assert all(np.abs(picture - other).mean() > 10 for other in loaded[:number])


def test_load_keeps_proportions() -> None:
    """A wide crop shows the middle of the picture, not a squeezed whole."""
    whole = pictures.load("astronaut", 512, 512).astype(np.float32)
    band = pictures.load("astronaut", 256, 512).astype(np.float32)
    assert np.abs(band - whole[128:384]).mean() < 1


def test_a_change_of_the_caller_does_not_stay() -> None:
    pictures.load("cat", 8, 8)[:] = 0
    assert pictures.load("cat", 8, 8).any()


def test_bad_requests() -> None:
    with pytest.raises(ValueError, match="no picture 'dog'; there are astronaut, cat"):
        pictures.load("dog", 8, 8)
    with pytest.raises(ValueError, match=r"no picture '\.\./cat'"):
        pictures.path("../cat")
    with pytest.raises(ValueError, match="0x8"):
        pictures.load("cat", 0, 8)


def test_import_is_cheap() -> None:
    code = "import sys, enginesmith.converters.data.pictures; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "PIL"}.intersection(loaded)
