"""What a live Python object is, as a hash: the same in two processes, where its pickle is not.

Pickles differ in which equal strings are one object, in the order of sets, in names that notebooks make up. Here a module
of torch is its parameters, its attributes and its code; functions and classes of `__main__` count by their bytecode and what
they refer to, those that can be imported by their name and their file.
"""

from __future__ import annotations

import dis
import hashlib
import sys
import types
from collections import OrderedDict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from enginesmith.converters.core.files import hash_file, is_installed

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
NO_MEANING = {
    "__module__",
    "__doc__",
    "__dict__",
    "__weakref__",
    "__firstlineno__",
    "__static_attributes__",
    "_abc_impl",
}
"""Attributes of a class that say where it was written, or that Python adds."""
GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")


def fingerprint(value: object) -> str:
    """SHA-256, in hex. Raises TypeError, or whatever a class's own `__reduce__` raises, for what can't be pickled."""
    walk = _Walk()
    walk.add(value)
    return walk.hash.hexdigest()


class _Walk:
    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.seen: dict[int, int] = {}
        self.kept: list[object] = []
        """Keeps the ids in `seen` from being given to others."""

    def put(self, *parts: object) -> None:
        for part in parts:
            data = part if isinstance(part, bytes | memoryview) else str(part).encode()
            self.hash.update(b"%d:" % len(data))
            self.hash.update(data)

    def add(self, value: Any) -> None:
        kind = type(value)
        if kind in PLAIN:
            self.put(kind.__name__, repr(value))
        elif kind is tuple:
            self.several("tuple", value)
        elif isinstance(value, types.CodeType):
            self.code(value)
        elif id(value) in self.seen:  # shared weights are not the same as equal ones
            self.put("again", self.seen[id(value)])
        else:
            self.seen[id(value)] = len(self.seen)
            self.kept.append(value)
            self.once(value)

    def once(self, value: Any) -> None:
        kind = type(value)
        if kind is list:
            self.several("list", value)
        elif kind in (dict, OrderedDict):
            self.several(kind.__name__, (part for pair in value.items() for part in pair))
        elif kind in (set, frozenset):
            self.put(kind.__name__, *sorted(map(fingerprint, value)))
        elif isinstance(value, types.ModuleType):
            self.put("module", value.__name__, *_file(value.__name__))
        elif isinstance(value, types.FunctionType | type) and _importable(value):
            self.put("name", value.__module__, value.__qualname__, *_file(value.__module__))
        elif isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, types.MethodType):  # its pickle would only name it
            self.several("method", [value.__func__, value.__self__])
        elif isinstance(value, type):
            members = sorted((name, part) for name, part in vars(value).items() if name not in NO_MEANING)
            self.several(
                f"class {value.__qualname__}", [*value.__bases__, *(part for pair in members for part in pair)]
            )
        elif isinstance(value, property):
            self.several("property", [value.fget, value.fset, value.fdel])
        elif isinstance(value, staticmethod | classmethod):
            self.several(kind.__name__, [value.__func__])
        elif (data := _tensor(value)) is not None:
            self.put(*data)
        else:
            self.reduced(value)

    def several(self, label: str, values: Iterable[Any]) -> None:
        values = list(values)
        self.put(label, len(values))
        for value in values:
            self.add(value)

    def code(self, code: types.CodeType) -> None:
        """Without its file and its lines."""
        self.put("code", code.co_name, code.co_code, code.co_flags, code.co_argcount, code.co_kwonlyargcount)
        self.put(code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self.several("constants", code.co_consts)

    def function(self, function: types.FunctionType) -> None:
        used = sorted(_globals(function.__code__) & function.__globals__.keys())
        cells = [_content(cell) for cell in function.__closure__ or ()]
        self.add(function.__code__)
        self.several("function", [function.__defaults__, function.__kwdefaults__, cells, used])
        self.several("globals", [function.__globals__[name] for name in used])

    def reduced(self, value: Any) -> None:
        """As pickle takes it apart."""
        made = value.__reduce_ex__(4)
        if isinstance(made, str):
            self.put("name", type(value).__module__, made)
            return
        maker, arguments, state, items, pairs = (*made[:5], None, None, None)[:5]
        self.several("object", [maker, arguments, state])
        self.several("items", items or ())
        self.several("pairs", pairs or ())


def _tensor(value: Any) -> tuple[object, ...] | None:
    """What a dense tensor of torch or an array of numpy is, on whatever device; None for anything else."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            return None
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return "tensor", type(value).__name__, value.dtype, tuple(value.shape), value.requires_grad, data.data
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        return "array", value.dtype.str, value.shape, value.tobytes()
    return None


def _importable(value: types.FunctionType | type) -> bool:
    """Whether a pickle names it, and doesn't hold it."""
    found: Any = sys.modules.get(value.__module__ or "")
    if value.__module__ == "__main__" or found is None:
        return False
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


@cache
def _file(module: str) -> tuple[str, ...]:
    """What tells a module from another one of its name: the hash of its file, and of the user's own the place too."""
    found = getattr(sys.modules.get(module), "__file__", None)
    if not found or not Path(found).is_file():
        return ()
    path = Path(found).resolve()
    return (hash_file(path),) if is_installed(path) else (hash_file(path), str(path))


def _globals(code: types.CodeType) -> set[str]:
    """Names that a function, and those within it, look up in their module."""
    names = {str(each.argval) for each in dis.get_instructions(code) if each.opname in GLOBAL}
    inner = [_globals(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return names.union(*inner)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # what it will hold is not there yet
        return NotImplemented
