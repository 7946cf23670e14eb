"""Where data lies: the user's text, and the files behind it. Imports nothing heavy: the command line asks it too."""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.hashing import code_version
from enginesmith.converters.core.live import EXAMPLES
from enginesmith.converters.core.user_code import CODE, check_defined, functions_of
from enginesmith.converters.data.datasets.base import OPTIONS, Role

Kind = Literal["shipped", "folder", "arrays", "recorded", "loader", "module"]

ARRAYS = (".npz", ".npy")
CLASSES = "classes.txt"
FORMS = "give a folder, a data.npz, file.py:function or package.module:function"


class Location(NamedTuple):
    """`function` is only that of a loader, with its module where it is no file's; `path` is resolved, and means nothing for
    those and for the shipped pictures."""

    kind: Kind
    path: Path
    function: str = ""


def locate(spec: str, option: str) -> Location:
    """Raises UserError, naming the `option` (`CALIB`, `EVAL`, `SAMPLES`), for a path that isn't there or is nothing of use.

    Nothing of the user's is run.
    """
    if not spec:
        return Location("shipped", Path())
    path = Path(spec).expanduser()
    if path.is_dir():
        return Location("folder", path.resolve())
    if path.is_file() and path.suffix in ARRAYS:
        return Location("arrays", path.resolve())
    if path.is_file() and path.suffix == EXAMPLES:
        return Location("recorded", path.resolve())
    file, colon, function = spec.rpartition(":")
    if colon and file.endswith(CODE):
        if not Path(file).expanduser().is_file():
            raise UserError(f"{option}={spec}: there is no file {file}{_near(Path(file))}")
        check_defined(Path(file).expanduser(), function)
        return Location("loader", Path(file).expanduser().resolve(), function)
    if colon and function.isidentifier() and _is_module(file):
        return Location("module", Path(), spec)
    if path.suffix == ".py" and path.is_file():
        names = functions_of(path)[:5]
        raise UserError(
            f"{option}={spec}: name the function too, as {spec}:NAME"
            + (f"; it has {', '.join(names)}" if names else "")
        )
    if path.is_file():
        raise UserError(f"{option}={spec}: a file of this kind holds no data that can be read; {FORMS}")
    raise UserError(f"{option}={spec}: there is no such file or folder{_near(path)}; {FORMS}")


def data_code(spec: str) -> str:
    """The version of the code behind a `spec` that names a function of a module of ours; else the same for all."""
    return code_version(spec.partition(":")[0])


def _is_module(name: str) -> bool:
    """Whether the package of a dotted name is installed, or in the working directory. The module itself may be missing: to
    look for it would run the package.
    """
    top = name.partition(".")[0]
    if not all(part.isidentifier() for part in name.split(".")):
        return False
    return importlib.util.find_spec(top) is not None or Path(top).is_dir() or Path(f"{top}.py").is_file()


def files_in(folder: Path) -> list[Path]:
    """All files of a folder and of those in it, sorted; none that is hidden, as macOS and Git leave them."""
    return list(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__MACOSX")):
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path


def data_sources(spec: str, role: Role) -> dict[str, str]:
    """Every file that `spec` reads with its SHA-256, for a stage's key. Raises UserError for one that isn't there.

    The modules that a loader imports are known only once it has run: `user_files.files_read`.
    """
    place = locate(spec, OPTIONS[role])
    if place.kind in ("shipped", "module"):
        return {}
    files = files_in(place.path) if place.kind == "folder" else [place.path]
    return {str(path): hash_file(path) for path in files}


def is_coco(content: Any) -> bool:
    """Whether the content of a JSON file has the lists of COCO's object detection format."""
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations"))


def read_json(path: Path) -> Any:
    """Raises UserError for a file that is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}") from None


def _near(path: Path) -> str:
    """A few names beside a path that isn't there."""
    parent = path.expanduser().parent
    names = [other.name for other in parent.iterdir()] if parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=2)
    return f" (nearest: {', '.join(near)})" if near else ""
