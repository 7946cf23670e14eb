"""What a search for a divergence finds: figures of every tensor that two sides have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import BaseModel

from enginesmith.converters.bisect.surgery import used_by
from enginesmith.converters.graphs.tolerances import Apart

MOST = 1e9
"""Shown for a difference without a bound: of integers, of NaN against a number, of shapes."""


class Layer(BaseModel):
    """One tensor on both sides. Figures are the worst over the samples."""

    place: int
    """In the order of computation on the found side."""
    tensor: str
    """Name on the found side."""
    expected: str
    """Name on the expected side; a module's path for PyTorch."""
    node: str
    op: str
    excess: float
    """The largest difference in units of what is allowed: above 1 the sides differ. At most `MOST`."""
    max_abs: float
    scale: float
    """The largest expected magnitude."""
    origin: bool = False
    """It differs, and nothing that it is computed from does."""

    @property
    def differs(self) -> bool:
        return self.excess > 1


class Trial(BaseModel):
    """A change of an engine that was tried. `excess`: the largest difference left, in units of what is allowed; None where no
    engine came of it, for the `reason`."""

    change: str
    excess: float | None = None
    reason: str = ""


class Divergence(BaseModel):
    """Two stages held against each other, tensor by tensor."""

    expected: str
    found: str
    tolerance_scale: float
    tolerance_relative: float
    samples: list[str]
    layers: list[Layer]
    """All that were compared, in order."""
    unmatched: list[str] = []
    """Tensors or modules of the found side (of PyTorch, for that) without a counterpart."""
    notes: list[str] = []
    barriers: list[str] = []
    """Tensors of the graph that an engine had to show, and then nothing differed."""
    trials: list[Trial] = []
    """Changes that were tried to make an engine agree, in order."""
    workaround: dict[str, str | bool] = {}
    """Keys of a recipe with which it does."""
    command: str = ""
    """That builds it so."""

    @property
    def first(self) -> Layer | None:
        return next((layer for layer in self.layers if layer.differs), None)


class Figures(BaseModel):
    """How far apart one tensor's two versions are."""

    excess: float
    max_abs: float
    scale: float

    def worst(self, other: Figures | None) -> Figures:
        if other is None:
            return self
        return Figures(
            excess=max(self.excess, other.excess),
            max_abs=max(self.max_abs, other.max_abs),
            scale=max(self.scale, other.scale),
        )


def measure(expected: NDArray[Any], found: NDArray[Any], scale: float, relative: float) -> Figures:
    """`scale` and `relative` as in `conditions.Condition`."""
    if expected.shape != found.shape:
        return Figures(excess=MOST, max_abs=MOST, scale=0.0)
    apart = Apart.of(expected, found)
    return Figures(
        excess=min(apart.excess(scale, relative), MOST),
        max_abs=min(float(apart.each.max(initial=0.0)), MOST),
        scale=apart.scale,
    )


def layers_of(model: ir.Model, figures: Mapping[str, Figures], expected: Mapping[str, str]) -> list[Layer]:
    """Layers in the order of the graph `model`, the found side; origins marked. `expected` has the other side's names."""
    bad: set[ir.Value] = set()
    layers = []
    for place, node in enumerate(model.graph):
        inherits = not bad.isdisjoint(used_by([node]))
        for value in node.outputs:
            name = str(value.name)
            if name not in figures:
                if inherits:
                    bad.add(value)
                continue
            layer = Layer(
                place=place,
                tensor=name,
                expected=expected.get(name, name),
                node=node.name or name,
                op=node.op_type,
                **figures[name].model_dump(),
            )
            layer.origin = layer.differs and not inherits
            if layer.differs:
                bad.add(value)
            layers.append(layer)
    return layers


def pair_up(expected: ir.Model, found: ir.Model) -> dict[str, str]:
    """Tensors of `found`'s main graph with their counterparts in `expected`: by tensor name, else by name of the node
    that makes them, else by structure (the same operator with the same attributes on tensors that are paired or alike;
    constants are alike by type and shape), where both graphs have as many of a kind."""
    before, after = _produced(expected), _produced(found)
    pairs = {name: name for name in after if name in before}
    _pair_alike(pairs, before, after, _node_label, _node_label)
    known_after = {name: f"pair {number}" for number, name in enumerate(pairs)}
    known_before = {pairs[name]: label for name, label in known_after.items()}
    structure_before, structure_after = _structure(expected, known_before), _structure(found, known_after)
    _pair_alike(pairs, before, after, structure_before.__getitem__, structure_after.__getitem__)
    return pairs


def _pair_alike(
    pairs: dict[str, str],
    before: Mapping[str, ir.Value],
    after: Mapping[str, ir.Value],
    label_before: Callable[[ir.Value], str],
    label_after: Callable[[ir.Value], str],
) -> None:
    """Pair, in place, what has no counterpart yet and the same label, in order, where both sides have as many."""
    taken = set(pairs.values())
    groups_before = _grouped([name for name in before if name not in taken], before, label_before)
    groups_after = _grouped([name for name in after if name not in pairs], after, label_after)
    for label, names in groups_after.items():
        others = groups_before.get(label, [])
        if label and len(others) == len(names):
            pairs |= dict(zip(names, others, strict=True))


def _produced(model: ir.Model) -> dict[str, ir.Value]:
    return {
        value.name: value
        for node in model.graph
        for value in node.outputs
        if value.name and (value.type is None or isinstance(value.type, ir.TensorType))
    }


def _node_label(value: ir.Value) -> str:
    node = value.producer()
    return f"{node.name} {node.op_type} {value.index()}" if node is not None and node.name else ""


def _structure(model: ir.Model, known: Mapping[str, str]) -> dict[ir.Value, str]:
    """A label for every value that says how it is computed."""
    labels: dict[ir.Value, str] = {}

    def label(value: ir.Value | None) -> str:
        if value is None:
            return "-"
        if value not in labels:
            constant = value.const_value
            labels[value] = (
                f"{constant.dtype} {constant.shape}"
                if constant is not None
                else known.get(str(value.name), f"input {value.name}")
            )
        return labels[value]

    for node in model.graph:
        attributes = sorted(f"{name}={attribute.value}" for name, attribute in node.attributes.items())
        text = f"{node.domain} {node.op_type} {attributes} {[label(value) for value in node.inputs]}"
        digest = hashlib.sha256(text.encode()).hexdigest()  # the text would grow with the depth
        for value in node.outputs:
            labels[value] = known.get(str(value.name), f"{digest} {value.index()}")
    return labels


def _grouped(
    names: Iterable[str], values: Mapping[str, ir.Value], label: Callable[[ir.Value], str]
) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(label(values[name]), []).append(name)
    return groups


def worst_of(rows: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """The worst figures of every tensor over the samples."""
    found: dict[str, Figures] = {}
    for row in rows:
        for name, figures in row.items():
            found[name] = figures.worst(found.get(name))
    return found
