"""What samples show of a graph's operators: the graph runs on them with the tensors that its conditions read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import ShapeInferencePass

from enginesmith.compat.saving import save
from enginesmith.compat.values import attribute, constant, dtype, label, qualified
from enginesmith.compat.walk import captured
from enginesmith.converters.core.comparisons import Coverage, Unexercised
from enginesmith.converters.core.errors import ConversionError, first_line
from enginesmith.converters.core.samples import Array, Feed
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.bounds import UNKNOWN, bounds
from enginesmith.converters.graphs.conditions import Condition, conditions
from enginesmith.converters.graphs.structure import is_standard

CHUNK = 1 << 28
"""Bytes of tensors that are asked for in one run."""
ORDERING = frozenset(("TopK", "ArgMax", "ArgMin", "Hardmax"))
SIZES = frozenset(("Shape", "Size"))
"""What they give depends on no element."""


@dataclass(eq=False)
class Wanted:
    """A condition of a node."""

    node: ir.Node
    condition: Condition
    met: bool = False


def _ordered(node: ir.Node) -> Sequence[ir.Value | None]:
    """The inputs among whose elements NaN has no defined place."""
    if node.op_type == "NonMaxSuppression":
        return node.inputs[:2]
    if node.op_type in ("ScatterElements", "ScatterND"):
        return node.inputs[::2] if attribute(node, "reduction", "none") in ("max", "min") else ()
    return node.inputs[:1] if node.op_type in ORDERING else ()


@dataclass
class Seen:
    """What one sample shows: how far it is from what no other one has met."""

    distances: dict[Wanted, float] = field(default_factory=dict)
    undefined: str = ""
    """A node whose result the framework leaves open on it, in words."""

    @property
    def met(self) -> list[Wanted]:
        return [wanted for wanted, distance in self.distances.items() if not distance]


class Observer:
    """A graph that is watched while it runs.

    It also tells of results that are open: where NaN stands among the others in TopK, ArgMax, ArgMin, Hardmax, suppression and
    scattered extremes, and numbers that the integers which they are cast to don't have. With `strict`, what PyTorch leaves
    open beyond that: the order of equal elements in TopK.
    """

    def __init__(self, path: Path, scratch: Path, *, strict: bool) -> None:
        model = ir.load(path)
        if any(dtype(node.inputs[0]) is None for node in model.graph if node.op_type == "Cast"):
            model = ShapeInferencePass()(model).model
        self.graph = model.graph
        self.from_data = from_data(model.graph)
        self.strict = strict
        known = bounds(model.graph)
        self.wanted: list[Wanted] = []
        self.casts: list[ir.Node] = []
        self.ordering: list[tuple[ir.Node, ir.Value]] = []
        self.sorted: list[Condition] = []
        for node in model.graph:
            if not is_standard(node) or not any(value in self.from_data for value in node.inputs):
                continue
            self.ordering += [(node, value) for value in _ordered(node) if value is not None]
            if strict and node.op_type == "TopK":
                self.sorted += conditions(node)
                continue
            if node.op_type == "Cast" and to_integers(node):
                self.casts.append(node)
            for condition in conditions(node):
                if condition.possible(*(known.get(value, UNKNOWN) for value in condition.values)):
                    self.wanted.append(Wanted(node, condition))
        self.total = len(self.wanted)
        self.watchful = bool(self.casts or self.sorted or self.ordering)
        self._inputs = {value.name for value in model.graph.inputs}
        self._constants: dict[str, NDArray[Any]] = {}
        self._session: Any = None
        self._bytes: dict[str, int] = {}
        self._model, self._path = model, scratch / "observed.onnx"

    def see(self, feed: Feed) -> Seen:
        """Run the graph on a sample, and change nothing. Raises ConversionError where ONNX Runtime refuses it."""
        seen = Seen()
        unmet = self.unmet()
        try:
            for tensors in self._tensors(feed, unmet):
                self._look(tensors, unmet, seen)
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise ConversionError(f"ONNX Runtime can't run the graph: {first_line(error)}") from error
        return seen

    def take(self, seen: Seen) -> None:
        """The sample is kept: what it meets is met."""
        for wanted in seen.met:
            wanted.met = True

    def _look(self, tensors: Mapping[str, Array], unmet: Sequence[Wanted], seen: Seen) -> None:
        def of(values: Sequence[ir.Value | None]) -> list[Array]:
            names = [value.name for value in values if value is not None]
            return [tensors[name] for name in names if name in tensors]  # type: ignore[index]

        for wanted in unmet:
            arrays = of(wanted.condition.values)
            if len(arrays) == len(wanted.condition.values):
                seen.distances[wanted] = wanted.condition.distance(*arrays)
        for node in self.casts:
            if not all(fits(array, node) for array in of(node.inputs[:1])):
                seen.undefined = f"{label(node)} casts numbers that its integers don't have"
        for node, value in self.ordering:
            if any(array.dtype.kind == "f" and np.isnan(array).any() for array in of([value])):
                seen.undefined = f"{node.op_type} orders NaN"
        for condition in self.sorted:
            if not all(condition.distance(array) for array in of(condition.values)):
                seen.undefined = "TopK sorts equal elements"

    def unmet(self) -> list[Wanted]:
        return [each for each in self.wanted if not each.met]

    def record(self, samples: int, searched: int = 0) -> Coverage:
        """`samples` is how many were looked at, `searched` how many of them were found by a search."""
        missed: dict[ir.Node, list[str]] = {}
        for each in self.unmet():
            missed.setdefault(each.node, []).append(each.condition.words)
        return Coverage(
            conditions=self.total,
            samples=samples,
            searched=searched,
            unexercised=[
                Unexercised(node=label(node), op=qualified(node), unseen=words) for node, words in missed.items()
            ],
        )

    def _tensors(self, feed: Feed, unmet: Sequence[Wanted]) -> Iterator[Mapping[str, Array]]:
        """Those that are needed still, a part of them at a time, whole nodes together."""
        values = [each.condition.values for each in unmet]
        values += [(node.inputs[0],) for node in self.casts]  # type: ignore[misc]
        values += [(value,) for _, value in self.ordering]
        values += [condition.values for condition in self.sorted]
        if not values:
            return
        if self._session is None:
            self._open({value for group in values for value in group})
        names: dict[str, None] = {}
        size = 0
        groups = [[str(value.name) for value in group] for group in values]
        for position, group in enumerate(groups):
            names |= dict.fromkeys(group)
            size += sum(self._bytes.get(name, 0) for name in group)
            if size > CHUNK or position == len(groups) - 1:
                yield self._run(list(names), feed)
                names, size = {}, 0

    def _run(self, names: Sequence[str], feed: Feed) -> Mapping[str, Array]:
        found: dict[str, Array] = {name: self._constants[name] for name in names if name in self._constants}
        found |= {name: feed[name] for name in names if name in feed}
        asked = [name for name in names if name not in found]
        if asked:
            made = self._session.run(asked, dict(feed))
            self._bytes |= {name: array.nbytes for name, array in zip(asked, made, strict=True)}
            found |= dict(zip(asked, made, strict=True))
        return found

    def _open(self, values: set[ir.Value]) -> None:
        graph = self._model.graph
        outputs = set(graph.outputs)
        self._bytes |= {str(value.name): _size(value) for value in values}
        for value in values:
            array = constant(value)
            if array is not None:
                self._constants[str(value.name)] = array
            elif value not in outputs and value.name not in self._inputs:
                graph.outputs.append(value)
        save(self._model, self._path)
        self._session = onnxruntime.session(self._path, optimize=False)


def from_data(graph: ir.Graph) -> set[ir.Value]:
    """The tensors whose elements depend on those of the inputs, and not on their sizes alone."""
    found = {value for value in graph.inputs if not value.is_initializer()}
    for node in graph:
        if node.op_type not in SIZES and any(value in found for value in (*node.inputs, *captured(node))):
            found.update(node.outputs)
    return found


def to_integers(node: ir.Node) -> bool:
    """Does a Cast make integers of fractions?"""
    kind = dtype(node.inputs[0])
    return kind is not None and kind.is_floating_point() and ir.DataType(node.attributes["to"].as_int()).is_integer()


def fits(array: Array, node: ir.Node) -> bool:
    """Have the integers of a Cast all of these numbers, their fractions cut off?"""
    info = np.iinfo(ir.DataType(node.attributes["to"].as_int()).numpy())
    numbers = array.astype(np.float64)
    return bool(((numbers > info.min - 1.0) & (numbers < info.max + 1.0)).all())


def _size(value: ir.Value) -> int:
    sizes = value.shape.numpy() if value.shape is not None and value.shape.is_static() else ()
    return int(np.prod(sizes)) * 4
