"""A PyTorch model against its exported graph, module by module. Runs in an `Isolated` process with torch.

Both exporters note which module a node comes from: dynamo's in the node's metadata, TorchScript's in the node's name. A
module's output is the one tensor that leaves its nodes.
"""

from __future__ import annotations

import ast
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
from numpy.typing import NDArray

from enginesmith.converters.bisect import files
from enginesmith.converters.bisect.divergence import Divergence, Figures, Layer, measure
from enginesmith.converters.bisect.surgery import used_by
from enginesmith.converters.core.samples import Feed, SampleSet
from enginesmith.converters.graphs.onnxruntime import session

if TYPE_CHECKING:
    import torch
    from torch import nn

COMPARE = f"{__name__}:compare"
SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of dynamo's nodes: the paths of the modules around it, outermost first, and the node's own name."""


@dataclass(frozen=True)
class Call:
    """One call of a module that returned a tensor."""

    module: str
    kind: str
    takes: tuple[int, ...]
    """Numbers of the tensors that it was given, and of the one that it returned; a tensor passed on keeps its number."""
    gives: int
    output: Any
    """As numpy."""


def compare(
    options: dict[str, Any],
    graph: str,
    samples: str,
    indices: Sequence[int],
    scale: float,
    relative: float,
    finetuned: str = "",
) -> dict[str, Any]:
    """A `Divergence` of the model that `options` (of `PrepareOptions`) describe, and the graph that it wrote. `finetuned` is
    the folder that the export took the weights from, empty for the model's own.
    """
    import torch

    from enginesmith.converters.torch_models.prepare import PrepareOptions, rebuild

    names, feeds = SampleSet.load(Path(samples))
    model = files.read(Path(graph))
    with torch.no_grad():
        ordinary = [feeds[index] for index in names.ordinary()]
        module = rebuild(PrepareOptions.model_validate(options), ordinary, Path(finetuned) if finetuned else None)
        calls = [record_calls(module, feeds[index]) for index in indices]
    tensors, behind = match(model, calls[0])
    notes: list[str] = []
    layers: list[Layer] = []
    if tensors:
        rows = run_marked(model, set(tensors.values()), [feeds[index] for index in indices])
        before, tensors = tensors, choose(tensors, behind, calls[0], rows[0])
        owners = {tensor: calls[0][index].module for index, tensor in before.items()}
        notes = [
            f"{calls[0][index].module} ({calls[0][index].kind}) is fused into {owners[tensor]}"
            for index, tensor in tensors.items()
            if index not in before
        ]
        figures: dict[int, Figures] = {}
        for made, row in zip(calls, rows, strict=True):
            for number, tensor in tensors.items():
                found = measure(made[number].output, row[tensor], scale, relative)
                figures[number] = found.worst(figures.get(number))
        layers = _layers(model, calls[0], tensors, figures)
    unmatched = list(dict.fromkeys(call.module for index, call in enumerate(calls[0]) if index not in tensors))
    return Divergence(
        expected="",
        found="",
        tolerance_scale=scale,
        tolerance_relative=relative,
        samples=[names.samples[index].name for index in indices],
        layers=layers,
        unmatched=unmatched,
        notes=notes,
    ).model_dump()


def run_marked(model: ir.Model, wanted: set[str], feeds: Sequence[Feed]) -> list[dict[str, NDArray[Any]]]:
    """These tensors of the graph, for every input."""
    marked = model.clone()
    marked.graph.outputs.clear()
    marked.graph.outputs.extend(v for node in marked.graph for v in node.outputs if v.name in wanted)
    names = [str(value.name) for value in marked.graph.outputs]
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        path = Path(folder) / "marked.onnx"
        files.write(marked, path)
        running = session(path, optimize=False)
        return [dict(zip(names, running.run(names, dict(feed)), strict=True)) for feed in feeds]


def record_calls(module: nn.Module, feed: Feed) -> list[Call]:
    """Run the module; every call of a module in it that returned one tensor, in the order in which they ended."""
    import torch

    numbers: dict[int, int] = {}
    alive: list[Any] = []  # else a freed tensor's id would come again
    calls: list[Call] = []

    def number(tensor: torch.Tensor) -> int:
        alive.append(tensor)
        return numbers.setdefault(id(tensor), len(numbers))

    def hook(path: str) -> Any:
        def record(called: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, torch.Tensor):
                takes = tuple(number(value) for value in inputs if isinstance(value, torch.Tensor))
                # copied, since the next module may work in place
                calls.append(
                    Call(path, type(called).__name__, takes, number(output), output.detach().cpu().numpy().copy())
                )

        return record

    handles = [part.register_forward_hook(hook(path)) for path, part in module.named_modules() if path]
    try:
        module(*(torch.from_numpy(array.copy()) for array in feed.values()))
    finally:
        for handle in handles:
            handle.remove()
    return calls


def match(model: ir.Model, calls: Sequence[Call]) -> tuple[dict[int, str], dict[int, list[int]]]:
    """Tensors of the graph by the index of the call that they should be the output of; and for some of these the calls
    right behind that have no nodes, so that the tensor may be theirs.

    A module that is called more than once has no tensor that is its own.
    """
    leaving = _leaving(model)
    counts = Counter(call.module for call in calls)
    tensors: dict[int, str] = {}
    behind: dict[int, list[int]] = {}
    makers: dict[int, int] = {}  # number of a tensor to the call that has it in the graph, or may
    for index, call in enumerate(calls):
        if counts[call.module] > 1:
            continue
        own = leaving.get(call.module)
        if own is not None and len(own) == 1:
            tensors[index] = own[0]
            makers[call.gives] = index
        elif own is None and len(call.takes) == 1 and call.takes[0] in makers and call.gives not in makers:
            maker = makers[call.takes[0]]
            behind.setdefault(maker, []).append(index)
            makers[call.gives] = maker
    return tensors, behind


def choose(
    tensors: Mapping[int, str],
    behind: Mapping[int, Sequence[int]],
    calls: Sequence[Call],
    arrays: Mapping[str, NDArray[Any]],
) -> dict[int, str]:
    """The tensors with those given to the call behind whose output they are nearest to.

    TorchScript's exporter folds a BatchNormalization into the convolution before it, and dynamo's the convolution into
    the normalization behind it: whose output a tensor is, only its values tell.
    """
    chosen = {}
    for index, tensor in tensors.items():
        candidates = [index, *behind.get(index, ())]
        distances = [measure(calls[i].output, arrays[tensor], 1.0, 1.0).excess for i in candidates]
        chosen[candidates[distances.index(min(distances))]] = tensor
    return chosen


def _leaving(model: ir.Model) -> dict[str, list[str]]:
    """By module: the tensors that its nodes make and others take. A module without nodes is not in it."""
    nodes = list(model.graph)
    inside: dict[str, list[int]] = {}
    for place, node in enumerate(nodes):
        for module in dict.fromkeys(modules_of(node)):
            inside.setdefault(module, []).append(place)
    takers: dict[ir.Value, set[int]] = {}
    for place, node in enumerate(nodes):
        for value in used_by([node]):
            takers.setdefault(value, set()).add(place)
    outputs = set(model.graph.outputs)
    leaving = {}
    for module, places in inside.items():
        own = set(places)
        leaving[module] = [
            str(value.name)
            for place in places
            for value in nodes[place].outputs
            if value in outputs or takers.get(value, set()) - own
        ]
    return leaving


def modules_of(node: ir.Node) -> Iterator[str]:
    """Paths of the modules around a node, as `named_modules` has them, outermost first."""
    if SCOPES in node.metadata_props:
        yield from (path for path in ast.literal_eval(node.metadata_props[SCOPES])[:-1] if path)
        return
    from enginesmith.converters.torch_models.user_lines import scopes_of_name

    yield from scopes_of_name(node.name or "")


def _layers(
    model: ir.Model, calls: Sequence[Call], tensors: Mapping[int, str], figures: Mapping[int, Figures]
) -> list[Layer]:
    """In the graph's order, a module before those around it. An origin is what differs while all before it agree."""
    places = {str(v.name): (place, node) for place, node in enumerate(model.graph) for v in node.outputs}
    bad: set[str] = set()
    layers = []
    ordered = sorted(tensors, key=lambda index: (places[tensors[index]][0], index))
    inputs = _upstream(model, set(tensors.values()))
    for index in ordered:
        tensor = tensors[index]
        place, node = places[tensor]
        layer = Layer(
            place=place,
            tensor=tensor,
            expected=calls[index].module,
            node=node.name or tensor,
            op=calls[index].kind,
            **figures[index].model_dump(),
        )
        layer.origin = layer.differs and tensor not in bad and bad.isdisjoint(inputs[tensor])
        if layer.differs:
            bad.add(tensor)
        layers.append(layer)
    return layers


def _upstream(model: ir.Model, wanted: set[str]) -> dict[str, set[str]]:
    """Of each wanted tensor, the nearest wanted tensors that it is computed from."""
    near: dict[ir.Value, set[str]] = {}
    found: dict[str, set[str]] = {}
    for node in model.graph:
        sources = set(
            itertools.chain.from_iterable(
                {str(v.name)} if v.name in wanted else near.get(v, set()) for v in used_by([node])
            )
        )
        for value in node.outputs:
            near[value] = sources
            if value.name in wanted:
                found[str(value.name)] = sources
    return found
