"""Containers taken apart and put together, by torch's side and by the record that needs no torch."""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.converters.core import trees
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.trees import Container, Signature, put_together, taken_apart, tensors_of
from enginesmith.converters.torch_models.containers import holds_tensors, leaves, refilled, tree_of
from enginesmith.converters.torch_models.tensor_names import distinct

Two = namedtuple("Two", "one other")


@dataclass(frozen=True)
class Frozen:
    one: Any
    other: Any = None


@dataclass
class Slotted:
    __slots__ = ("inner",)
    inner: Any


class Plain:
    def __init__(self, held: Any) -> None:
        self.held, self.count, self.log = held, 0, [1]


@dataclass
class Entries(OrderedDict):  # type: ignore[type-arg]
    """As transformers' ModelOutput."""

    first: Any = None
    second: Any = None

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            if getattr(self, name) is not None:
                self[name] = getattr(self, name)


LEAVES = st.one_of(
    st.builds(lambda: torch.zeros(1)),
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.text(max_size=3),
)
KEYS = st.one_of(st.text("ab.: ", min_size=1, max_size=3), st.integers(0, 9))


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(inner, max_size=3)
    return st.one_of(
        few,
        few.map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict),
        st.builds(Two, inner, inner),
        st.builds(Frozen, inner, inner),
        st.builds(Slotted, inner),
        st.builds(lambda held: Entries(torch.zeros(1), held), inner),
    )


STRUCTURES = st.recursive(LEAVES, _nested, max_leaves=12)


def same(one: Any, other: Any) -> bool:
    """Equal in types, keys and leaves."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Frozen | Slotted):
        names = ("one", "other") if isinstance(one, Frozen) else ("inner",)
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


@given(STRUCTURES)
@settings(max_examples=150, deadline=None)
def test_other_tensors_in_the_same_structure_and_back(value: Any) -> None:
    found = [leaf for _, leaf in leaves(value, "x") if isinstance(leaf, torch.Tensor)]
    new = [torch.full((2,), float(index)) for index in range(len(found))]
    made = refilled(value, iter(new))
    assert [leaf for _, leaf in leaves(made, "x") if isinstance(leaf, torch.Tensor)] == new or not new
    assert same(refilled(made, iter(found)), value)


@given(STRUCTURES)
@settings(max_examples=150, deadline=None)
def test_the_record_takes_apart_and_puts_together(value: Any) -> None:
    """Through JSON, as the manifest has it."""
    names = distinct(name for name, leaf in leaves(value, "x") if isinstance(leaf, torch.Tensor))
    tree = tree_of(value, iter(names))
    tree = Signature.model_validate_json(Signature(outputs=tree).model_dump_json()).outputs
    assert tensors_of(tree) == names
    tensors = taken_apart(tree, value, "x")
    assert list(tensors) == names
    assert same(put_together(tree, tensors), _as_dicts(value))


def _as_dicts(value: Any) -> Any:
    """OrderedDicts are dicts to the record."""
    if isinstance(value, dict) and not isinstance(value, Entries):
        return {key: _as_dicts(held) for key, held in value.items()}
    if isinstance(value, Two):
        return Two(*map(_as_dicts, value))
    if isinstance(value, list | tuple):
        return type(value)(map(_as_dicts, value))
    if isinstance(value, Frozen):
        return Frozen(_as_dicts(value.one), _as_dicts(value.other))
    if isinstance(value, Slotted):
        return Slotted(_as_dicts(value.inner))
    if isinstance(value, Entries):
        return Entries(**{key: _as_dicts(held) for key, held in value.items()})
    return value


def test_nothing_is_shared_between_calls() -> None:
    value = Plain([torch.zeros(1)])
    made = refilled(value, iter([torch.ones(1)]))
    made.log.append(2)
    made.held.append(3)
    assert (value.log, len(value.held)) == ([1], 1)
    config = {"weights": torch.zeros(1), "cache": defaultdict(list), "queue": deque([1])}
    made = refilled(config, iter([torch.ones(1)]))
    made["cache"]["x"].append(1)
    assert not config["cache"]


def test_what_holds_tensors() -> None:
    deep = Plain({"x": [Plain((1, torch.zeros(1)))]})
    deep.log.append(deep)  # type: ignore[arg-type]
    assert holds_tensors(deep)
    assert not holds_tensors(Plain([deep.log.copy()[:1]]))
    assert holds_tensors([np.zeros(2)])


def test_caches_have_short_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of classes of that module, without the package."""

    class Layer:
        def __init__(self) -> None:
            self.keys, self.values, self.is_initialized = torch.zeros(1), torch.ones(1), True

    class Cache:
        def __init__(self) -> None:
            self.layers, self.seen = [Layer(), Layer()], {0: False}

    for each in (Layer, Cache):
        monkeypatch.setattr(each, "__module__", "transformers.cache_utils")
    cache = Cache()
    assert [name for name, _ in leaves(cache, "past")] == ["past.0.key", "past.0.value", "past.1.key", "past.1.value"]
    made = refilled(cache, iter([torch.full((1,), float(i)) for i in range(4)]))
    assert made.layers[1].values.item() == 3
    made.seen[0] = True
    assert cache.seen == {0: False}


@dataclass
class Counted:
    x: Any
    made: int = field(default=0, init=False)


def test_classes_that_can_not_be_imported_are_dicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a module that lies in the folder where one is run for it, nor anything else than a dataclass called."""
    (tmp_path / "trap_of_test.py").write_text("raise SystemExit('was run')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("trap_of_test:X", "subprocess:Popen", "no_such_module:X", "builtins:eval", "os:system"):
        tree = Container(container="object", type=name, keys=["args"], items=[trees.Tensor(tensor="x")])
        assert put_together(tree, {"x": 1}) == {"args": 1}
    assert "trap_of_test" not in sys.modules
    own = Container(container="object", type=f"{__name__}:Counted", keys=["x", "made"])
    own.items = [trees.Tensor(tensor="x"), trees.Constant(constant=4)]
    assert put_together(own, {"x": 1}).made == 4


def test_constants_that_json_lacks_are_what_python_writes() -> None:
    tree = tree_of([torch.float32, float("inf"), torch.device("cpu")], iter(()))
    text = Signature(outputs=tree).model_dump_json()
    assert put_together(Signature.model_validate_json(text).outputs, {}) == [
        "torch.float32",
        float("inf"),
        "device(type='cpu')",
    ]
    assert taken_apart(tree, [torch.float32, float("inf"), torch.device("cpu")], "x") == {}
    with pytest.raises(UserError, match=r"torch\.float16, and is the constant 'torch\.float32'"):
        taken_apart(tree, [torch.float16, float("inf"), torch.device("cpu")], "x")
