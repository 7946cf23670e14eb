"""The structure of a model's inputs and outputs: which tensor of the flat list is where in its dicts, lists and objects.

It is a record of the manifest, and is read without torch: what an engine is called with is taken apart by it, and what the
engine gives is put together.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import is_installed

Kind = Literal["tuple", "list", "dict", "namedtuple", "object"]
Key: TypeAlias = bool | int | str
"""Of a dict, or the name of an attribute."""
PLAIN = (type(None), bool, int, float, str)
"""Types that JSON has."""
FLOAT = "builtins:float"
"""The type of infinities and NaN, which JSON lacks."""


class Tensor(BaseModel):
    """A tensor, by its name among the graph's inputs or outputs."""

    model_config = ConfigDict(extra="forbid")

    tensor: str


class Constant(BaseModel):
    """What no graph takes or gives: it is part of the engine, and is as it was when that was built."""

    model_config = ConfigDict(extra="forbid")

    constant: bool | int | float | str | None
    """Of a type that JSON lacks, as Python writes it."""
    type: str = ""
    """That type: `torch:dtype`; empty for what JSON has."""


class Container(BaseModel):
    model_config = ConfigDict(extra="forbid")

    container: Kind
    type: str = ""
    """`module:Class` where it is none of Python's own."""
    keys: list[Key] = []
    """One for each item: of a dict, or names of attributes; none for a tuple and a list."""
    items: list[Tree] = []


Tree: TypeAlias = Tensor | Constant | Container


class Signature(BaseModel):
    """How a model is called, and what it returns."""

    arguments: dict[str, Tree] = Field(default_factory=dict)
    """By the names of `forward`'s parameters, in the order of the graph's inputs."""
    outputs: Tree

    @property
    def structured(self) -> bool:
        """Is there more to the outputs than their names say? There is not for a tensor, and for several in a tuple or a list."""
        if isinstance(self.outputs, Container) and self.outputs.container in ("tuple", "list"):
            return not all(isinstance(item, Tensor) for item in self.outputs.items)
        return not isinstance(self.outputs, Tensor)


def tensors_of(tree: Tree) -> list[str]:
    """Their names, in order."""
    if isinstance(tree, Container):
        return [name for item in tree.items for name in tensors_of(item)]
    return [tree.tensor] if isinstance(tree, Tensor) else []


def taken_apart(tree: Tree, value: Any, place: str) -> dict[str, Any]:
    """The tensors of a value of this structure, by name. `place` is what an error calls it.

    An object may come as a mapping of its attributes. Raises UserError for another structure, and for another value of a constant.
    """
    if isinstance(tree, Tensor):
        return {tree.tensor: value}
    if isinstance(tree, Constant):
        _check_constant(tree, value, place)
        return {}
    if tree.container in ("tuple", "list"):
        parts = value if isinstance(value, list | tuple) else None
        if parts is None or len(parts) != len(tree.items):
            found = f"a {type(value).__name__}" if parts is None else f"{len(parts)}"
            raise UserError(f"{place} is {found}, and the engine takes a {tree.container} of {len(tree.items)}")
        places = [f"{place}[{index}]" for index in range(len(parts))]
    else:
        parts = [_part(value, key, item, place) for key, item in zip(tree.keys, tree.items, strict=True)]
        places = [f"{place}.{key}" for key in tree.keys]
        if isinstance(value, Mapping) and tree.container == "dict":
            unknown = [str(key) for key in value if key not in tree.keys and value[key] is not None]
            if unknown:
                raise UserError(f"{place} has {', '.join(unknown)}, which the engine doesn't take")
    tensors: dict[str, Any] = {}
    for item, part, name in zip(tree.items, parts, places, strict=True):
        tensors.update(taken_apart(item, part, name))
    return tensors


def _part(value: Any, key: Key, item: Tree, place: str) -> Any:
    """An entry of a mapping, or an attribute. What has no tensors may be left out."""
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
    elif isinstance(key, str) and hasattr(value, key):
        return getattr(value, key)
    if tensors_of(item):
        raise UserError(f"{place} has no {key}, which the engine takes")
    return put_together(item, {})


def _check_constant(tree: Constant, value: Any, place: str) -> None:
    """Raises UserError."""
    if repr(value) != tree.constant and not (type(value) in PLAIN and value == tree.constant):
        raise UserError(
            f"{place} is {value!r}, and is the constant {tree.constant!r} of this engine; build one with that value"
        )


def put_together(tree: Tree, tensors: Mapping[str, Any]) -> Any:
    """The value of this structure with these tensors. An object is of its class where that is a dataclass, or a named tuple, and
    can be imported; else it is a dict of its attributes. Other constants that JSON lacks than infinity and NaN are what Python
    writes for them.
    """
    if isinstance(tree, Tensor):
        return tensors[tree.tensor]
    if isinstance(tree, Constant):
        return float(tree.constant) if tree.type == FLOAT and isinstance(tree.constant, str) else tree.constant
    items = [put_together(item, tensors) for item in tree.items]
    if tree.container == "tuple":
        return tuple(items)
    if tree.container == "list":
        return items
    named = dict(zip(tree.keys, items, strict=True))
    made = _class(tree.type) if tree.container != "dict" else None
    return named if made is None else _made(made, named)


def _made(found: type, attributes: dict[Any, Any]) -> Any:
    """An object of the class, or the attributes where it has others by now."""
    try:
        if issubclass(found, tuple):
            return found(**attributes)
        if issubclass(found, Mapping):  # what transformers and diffusers return
            return found(**attributes)
        made = object.__new__(found)
        for name, value in attributes.items():
            object.__setattr__(made, name, value)
        return made
    except Exception:  # noqa: BLE001 - a stranger's class may raise anything
        return attributes


def _class(name: str) -> type | None:
    """A dataclass or a named tuple of a module that is loaded, or of an installed package."""
    module, _, qualified = name.partition(":")
    if module not in sys.modules and not _import(module):
        return None
    found: Any = sys.modules[module]
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        return None
    sound = dataclasses.is_dataclass(found) or (issubclass(found, tuple) and hasattr(found, "_fields"))
    return found if sound else None


def _import(module: str) -> bool:
    """A manifest is no reason to run code that lies in the folder where one happens to be."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
        if spec is None or spec.origin is None or not is_installed(Path(spec.origin)):
            return False
        importlib.import_module(module)
    except Exception:  # noqa: BLE001 - a module may raise anything
        return False
    return True
