"""What models take and return beside tensors, taken apart and put together: Python's containers, dataclasses, the outputs and
the caches of transformers, and other objects that hold tensors.

torch's own pytree knows Python's containers and what was registered with it. The outputs of transformers and diffusers are
registered by these themselves; caches are not, nor are most people's classes, and a registry is shared by a whole process.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.trees import PLAIN, Constant, Container, Key, Kind, Tensor, Tree

if TYPE_CHECKING:
    import torch

OPAQUE = (str, bytes, bytearray, type, FunctionType, MethodType, ModuleType, enum.Enum)
"""Holds no tensor that is an input or an output."""
LONGEST = 200
"""Letters of a constant."""
CACHES = "transformers.cache_utils"
SHORT = {"keys": "key", "values": "value"}
"""What the parts of a cache's layer are called: `past_key_values.0.key`."""


@dataclass(frozen=True)
class Opened:
    """A container, and what it holds."""

    kind: Kind
    keys: Sequence[Any]
    values: Sequence[Any]
    close: Callable[[Sequence[Any]], Any]
    """The same container of other values."""
    type: str = ""
    names: Sequence[str] | None = None
    """What the values are called, where that isn't their keys; nothing for a level that no name tells."""


def opened(value: Any) -> Opened | None:
    """None for what is no container."""
    from torch import Tensor, nn
    from torch.utils import _pytree as pytree

    kind = type(value)
    if isinstance(value, (Tensor, nn.Module, *OPAQUE, *PLAIN)):
        return None
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Opened("namedtuple", value._fields, value, lambda parts: kind(*parts), _name(kind))
    if isinstance(value, tuple):
        return Opened("tuple", range(len(value)), value, kind)
    if isinstance(value, list | deque):
        return Opened("list", range(len(value)), [*value], kind)
    if isinstance(value, Mapping):
        keys = [*value]
        made = dataclasses.is_dataclass(kind)
        close = (lambda parts: kind(**dict(zip(keys, parts, strict=True)))) if made else _refilled(value)
        return Opened("object" if made else "dict", keys, [*value.values()], close, _name(kind) if made else "")
    if dataclasses.is_dataclass(kind):
        return _of_attributes(value, [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)])
    if not _is_of(value, CACHES) and kind in pytree.SUPPORTED_NODES:
        return _registered(value, pytree.SUPPORTED_NODES[kind])
    if not hasattr(value, "__dict__"):
        return None
    public = [name for name, held in vars(value).items() if not name.startswith("_") and holds_tensors(held)]
    return _of_attributes(value, public) if public else None


def _refilled(value: Mapping[Any, Any]) -> Callable[[Sequence[Any]], Any]:
    def close(parts: Sequence[Any]) -> Any:
        made = copy.copy(value) if isinstance(value, MutableMapping) else {}
        made.update(zip(value, parts, strict=True))
        return made

    return close


def _of_attributes(value: Any, keys: list[str]) -> Opened:
    """The other attributes are copied with the object: a model may change them."""

    def close(parts: Sequence[Any]) -> Any:
        made = copy.copy(value)
        others = {} if not hasattr(value, "__dict__") else {k: v for k, v in vars(value).items() if k not in keys}
        for name, held in others.items():
            object.__setattr__(made, name, copy.deepcopy(held))
        for name, part in zip(keys, parts, strict=True):
            object.__setattr__(made, name, part)
        return made

    names: list[str] = keys
    if _is_of(value, CACHES):
        names = ["" if key == "layers" else SHORT.get(key, key) for key in keys]
    return Opened("object", keys, [getattr(value, key) for key in keys], close, _name(type(value)), names)


def _registered(value: Any, node: Any) -> Opened:
    """By what torch's pytree was told about it."""
    if node.flatten_with_keys_fn is not None:
        pairs, context = node.flatten_with_keys_fn(value)
        keys: list[Any] = [getattr(key, "name", getattr(key, "key", getattr(key, "idx", str(key)))) for key, _ in pairs]
        values = [held for _, held in pairs]
    else:
        values, context = node.flatten_fn(value)
        keys = [*range(len(values))]
    return Opened("object", keys, values, lambda parts: node.unflatten_fn([*parts], context), _name(type(value)))


def _is_of(value: Any, module: str) -> bool:
    """Is it of a class of this module, or of one that comes of such?"""
    return any(base.__module__ == module for base in type(value).__mro__)


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def holds_tensors(value: Any, seen: set[int] | None = None) -> bool:
    """Is there a tensor or an array in it, however deep, private attributes included?"""
    import numpy as np
    from torch import Tensor, nn

    seen = set() if seen is None else seen
    if isinstance(value, Tensor | np.ndarray):
        return True
    if isinstance(value, (nn.Module, *OPAQUE, *PLAIN)) or id(value) in seen:
        return False
    seen.add(id(value))
    if isinstance(value, Mapping):
        held: Any = value.values()
    elif isinstance(value, list | tuple | set | frozenset | deque):
        held = value
    else:
        held = getattr(value, "__dict__", {}).values()
    return any(holds_tensors(part, seen) for part in held)


def leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Whatever is no container, in order, with its path: `views.left`, `past_key_values.0.key`."""
    inner = opened(value)
    if inner is None:
        yield name, value
        return
    for part, held in zip(inner.names or inner.keys, inner.values, strict=True):
        yield from leaves(held, ".".join(filter(None, (name, str(part)))))


def check_leaf(name: str, value: Any) -> None:
    """Raises UserError for what is no tensor and has, or hides, numbers that an engine would take or give."""
    from torch import Tensor

    if isinstance(value, Tensor):
        return
    if hasattr(value, "__next__"):
        raise UserError(f"{name} is a {type(value).__name__}, which can be read only once; make it a list")
    if (
        hasattr(value, "__array_interface__") and getattr(value, "shape", None) != ()
    ):  # NumPy's arrays, and PIL's pictures
        raise UserError(f"{name} is a {type(value).__name__}; make it a tensor, as torch.from_numpy does")
    if holds_tensors(value):
        raise UserError(
            f"{name} is a {type(value).__name__}, whose tensors can't be told; make it a dataclass, a dict or a tuple"
        )


def refilled(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """The same structure of other tensors. Nothing of it is shared with the value: a model may change what it is given."""
    from torch import Tensor

    if isinstance(value, Tensor):
        return next(tensors)
    inner = opened(value)
    if inner is None:
        return value if isinstance(value, PLAIN) else copy.deepcopy(value)
    return inner.close([refilled(part, tensors) for part in inner.values])


def tree_of(value: Any, names: Iterator[str]) -> Tree:
    """The record of a structure whose tensors have these names, in order."""
    from torch import Tensor as TorchTensor

    if isinstance(value, TorchTensor):
        return Tensor(tensor=next(names))
    inner = opened(value)
    if inner is None:
        return _constant(value)
    keys: list[Key] = [] if inner.kind in ("tuple", "list") else [_key(key) for key in inner.keys]
    return Container(
        container=inner.kind, type=inner.type, keys=keys, items=[tree_of(part, names) for part in inner.values]
    )


def _key(key: Any) -> Key:
    return key if isinstance(key, bool | int | str) else str(key)


def _constant(value: Any) -> Constant:
    if type(value) in PLAIN and not (isinstance(value, float) and value - value != 0):  # JSON has no infinity
        return Constant(constant=value)
    text = repr(value)
    told = len(text) <= LONGEST and " at 0x" not in text
    return Constant(constant=text if told else type(value).__name__, type=_name(type(value)))
