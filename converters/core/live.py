"""Objects of the Python process that the user works in, as files that a worker loads.

They are pickles, and loading one runs code. A file that this process wrote needs no one's trust; any other does, and so
`is_made` is asked before a worker is told to load one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.user_files import watch_imports

MODULE, FUNCTION, EXAMPLES = ".module", ".function", ".examples"
"""Suffixes of the files: a torch module with its example inputs, a callable, and data (which is no pickle)."""

_made: dict[Path, str] = {}
"""Files that hold what this process wrote, or what it would have written, with their SHA-256."""


class _Imports:
    """Stands first in a pickle: when the rest is loaded, modules are found where they were found here."""

    def __reduce__(self) -> tuple[Callable[[list[str]], None], tuple[list[str]]]:
        return extend_path, ([str(Path(folder).resolve()) for folder in sys.path],)


def extend_path(folders: list[str]) -> None:
    """Search these folders for modules too, after all others."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def write_module(module: Any, inputs: Any, kwargs: Any, path: Path) -> None:
    """With the inputs and the keyword arguments that it is called with, either of which may be None.

    Raises whatever the pickling of a stranger's attributes raises.
    """
    import cloudpickle
    import torch

    torch.save((_Imports(), module, inputs, kwargs), path, pickle_module=cloudpickle)


def write_function(function: Callable[..., Any], path: Path) -> None:
    """Raises as `write_module` does."""
    import cloudpickle

    path.write_bytes(cloudpickle.dumps((_Imports(), function)))


def read_function(path: Path) -> Callable[..., Any]:
    """Runs code of the file."""
    import pickle

    watch_imports()
    _, function = pickle.loads(path.read_bytes())
    return function  # type: ignore[no-any-return]


def made(path: Path) -> None:
    """Note that a file is this process's own, unless another user wrote it."""
    if path.stat().st_uid == os.getuid():
        _made[path.resolve()] = hash_file(path)


def is_made(path: Path) -> bool:
    """Whether the file is, still, what this process wrote."""
    return path.resolve() in _made and _made[path.resolve()] == hash_file(path)
