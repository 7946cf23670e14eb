"""What calls of Python's own functions return, of arguments that are known: casts, paths, methods of strings.

Each is as cheap as its arguments are long. What raises something is the caller's to catch.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

OTHER: Any = type("Other", (), {})()
"""A call that is not known here."""
CASTS: dict[str, Callable[[Any], Any]] = {
    "int": int, "float": float, "str": str, "bool": bool, "tuple": tuple, "list": list,
    "Path": str, "PurePath": str, "Dims4": tuple, "Dims": tuple,
}  # fmt: skip
PATHS: dict[str, Callable[..., Any]] = {
    "path.join": os.path.join, "path.splitext": os.path.splitext, "path.basename": os.path.basename,
    "path.dirname": os.path.dirname,
}  # fmt: skip
SAME_PATH = ("path.abspath", "path.expanduser", "path.realpath", "path.normpath")
"""Functions after which a path is still the one that the script names."""
TEXT = ("replace", "strip", "rstrip", "lstrip", "lower", "upper", "split", "removesuffix")
SAME_TEXT = ("resolve", "absolute", "expanduser", "as_posix")
FORMATTED = re.compile(r"\{[^{}]*[:!.\[]")
"""A field with a width, which may be any, or with an attribute."""


def of_function(name: str, arguments: Sequence[Any]) -> Any:
    """What a function of a dotted name returns; OTHER for one that is not known."""
    last = name.rpartition(".")[2]
    if last in CASTS and len(arguments) == 1:
        return CASTS[last](arguments[0])
    if last in CASTS and arguments:  # Path("a", "b"), Dims4(1, 3, 224, 224)
        return str(PurePosixPath(*arguments)) if last.endswith("Path") else tuple(arguments)
    if name.endswith(SAME_PATH):
        return arguments[0]
    path = next((function for ending, function in PATHS.items() if name.endswith(ending)), None)
    return OTHER if path is None else path(*arguments)


def of_method(subject: Any, name: str, arguments: Sequence[Any]) -> Any:
    """What a method of a string, a path or a dict returns; OTHER for one that is not known."""
    if isinstance(subject, str):
        if name in TEXT or (name == "format" and not FORMATTED.search(subject)):
            return getattr(subject, name)(*arguments)
        if name in SAME_TEXT:
            return subject
        if name == "with_suffix":
            return str(PurePosixPath(subject).with_suffix(*arguments))
    if isinstance(subject, dict) and name == "get":
        return subject.get(*arguments)
    return OTHER
