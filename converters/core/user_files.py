"""What the user's code has read: the sources that were executed, and the files that these opened.

All of it is input of a stage, though no option names it. A source counts as it was compiled, whatever became of the file
since. Of other files it is Python's own `open` that is seen: not what a library opens by itself (safetensors, OpenCV), nor
other processes.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from enginesmith.converters.core.files import hash_file, is_installed
from enginesmith.converters.core.stamps import Stamp, stamp

PACKAGE = __name__.partition(".")[0]
OURS = Path(__file__).resolve().parents[1]
"""The folder of the converters, whose sources Python opens too where it prints a traceback or a warning."""
SYSTEM = ("/proc/", "/sys/", "/dev/")
CHANGED = "changed"
"""In the place of the hash of a file that was written to after it was read: no content has it."""

_executed: dict[str, str] = {}
_opened: dict[str, Stamp | None] = {}
_written: set[str] = set()
_depth = 0
_hooked = False


class SourceLoader(SourceFileLoader):
    """Compiles the very source that it hashes. Python itself takes old bytecode for that of any source of the same size
    and second.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = self.get_data(path)
        _executed[str(Path(path).resolve())] = hashlib.sha256(source).hexdigest()
        return self.source_to_code(source, path)


class _Finder(MetaPathFinder):
    """Has the user's modules loaded so, whoever finds them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if find and finder is not self else None
            if spec is not None:
                loader = spec.loader
                if type(loader) is SourceFileLoader and _is_users(fullname, Path(loader.path)):
                    spec.loader = SourceLoader(loader.name, loader.path)
                return spec
        return None


def watch_imports() -> None:
    """From now on `files_read` knows the sources of modules as they were executed."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


@contextmanager
def watched() -> Iterator[None]:
    """Within the context the user's code runs: what is opened is its doing."""
    global _depth, _hooked
    if not _hooked:
        sys.addaudithook(_heard)  # for good: Python can't take a hook away
        _hooked = True
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def files_read() -> dict[str, str]:
    """The user's own files by absolute path, with the SHA-256 of what was read; none of an installed package or of ours."""
    found = dict(_executed)
    main = Path(getattr(sys.modules["__main__"], "__file__", None) or "").resolve()  # a worker's is ours
    folders: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")  # getattr would wake modules that load lazily
        if file and file.endswith(".py"):  # torch has modules without a file
            path = _resolved(file, folders)
            if _is_users(name, path) and path != main and str(path) not in found and path.is_file():
                found[str(path)] = hash_file(path)
    for name, before in list(_opened.items()):
        path = Path(name).resolve()
        ours = path == main or path.suffix == ".pyc" or is_installed(path) or path.is_relative_to(OURS)
        if not ours and path.is_file() and name not in _written and str(path) not in found:
            found[str(path)] = hash_file(path) if stamp(path) == before else CHANGED
    return found


def _resolved(file: str, folders: dict[str, str]) -> Path:
    """Without links. `folders` has the folders that were met before: thousands of files are in few hundred."""
    folder, name = os.path.split(file)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    path = os.path.join(folders[folder], name)
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def _is_users(module: str, path: Path) -> bool:
    return module.partition(".")[0] != PACKAGE and not is_installed(path)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """Note a file that is opened."""
    if not _depth or event != "open" or isinstance(arguments[0], int):
        return
    name, mode, flags = arguments
    path = os.path.abspath(os.fsdecode(name))
    if path.startswith(SYSTEM):
        return
    writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
    if writes:
        _written.add(path)
    elif path not in _opened:
        _opened[path] = stamp(Path(path))
