"""Which nodes of a graph each node of ONNX Runtime's optimized graph computes.

Optimizers keep the names of tensors where they can: a fused node has the output of the last node that it computes. Only
the blocked layout of convolutions renames them; its nodes are called by the tensor that they would have computed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import onnx

MOVERS = frozenset({"ReorderInput", "ReorderOutput"})
"""Between ONNX's layout and the blocked one."""
TAILS = frozenset(
    (
        "Add",
        "BatchNormalization",
        "Clip",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mul",
        "Relu",
        "Sigmoid",
        "Sum",
        "Tanh",
    )
)
"""Operators that a convolution may compute with its own result."""
GIVEN = re.compile(r"(_nchwc)?(_token_\d+)?$|/\w*Fusion/?.*$")
"""What an optimizer adds to the name of a tensor or a node."""


class Coverage:
    """Numbers of the nodes of `graph`, by the number of the node in `optimized`."""

    def __init__(self, graph: onnx.GraphProto, optimized: onnx.GraphProto) -> None:
        self.graph, self.optimized = graph, optimized
        self.producer = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(value.name for value in graph.output)
        self.readers: dict[str, int] = {name: i for i, node in enumerate(graph.node) for name in node.input}
        self.constant = self._constants()
        self.stands_for: dict[str, str] = {}
        """Tensor of the optimized graph to the one of the given graph that it holds."""
        self._name_tensors()
        self.known = set(self.stands_for.values()) | {value.name for value in graph.input}
        self.covered: list[set[int]] = [self._covered(node) for node in optimized.node]
        self._attach()

    def _constants(self) -> set[int]:
        """Nodes that compute the same for every input."""
        given = {tensor.name for tensor in self.graph.initializer} | {""}
        found = set()
        for number, node in enumerate(self.graph.node):
            if all(name in given for name in node.input) and not any(entry.HasField("g") for entry in node.attribute):
                found.add(number)
                given.update(node.output)
        return found

    def _name_tensors(self) -> None:
        names = {node.name: node for node in self.graph.node if node.name}
        renamed: list[tuple[str, str]] = []
        """Results of convolutions, and the tensors that they are called by."""
        for node in self.optimized.node:
            same = [name for name in node.output if name in self.producer]
            self.stands_for |= dict(zip(same, same, strict=True))
            if node.op_type in MOVERS:
                continue
            base = GIVEN.sub("", node.name)
            base = names[base].output[0] if base in names else base
            if not same and node.output and base in self.producer:
                self.stands_for[node.output[0]] = base
                renamed[:0] = [(node.output[0], base)] if node.op_type == "Conv" else []
        moved = [node for node in self.optimized.node if node.op_type in MOVERS]
        told = {node.input[0]: node.output[0] for node in moved if node.output[0] in self.producer}
        self.stands_for |= told
        # The later of two convolutions computes their sum: it is the one that finds the other's result.
        found = set(self.stands_for.values())
        for name, base in sorted(renamed, key=lambda pair: pair[0] not in told):
            tail = self._tail(base, found)
            self.stands_for[name] = told.get(name, tail)
        for node in moved:
            base = self.stands_for.get(node.input[0], node.input[0])
            if base in self.producer:
                self.stands_for.setdefault(node.output[0], base)

    def _tail(self, name: str, found: set[str]) -> str:
        """The tensor after the elementwise operators that a convolution has swallowed: no other node computes them."""
        while self.uses[name] == 1 and name in self.readers:
            node = self.graph.node[self.readers[name]]
            if node.op_type not in TAILS or node.output[0] in found:
                break
            name = node.output[0]
            found.add(name)
        return name

    def _covered(self, node: onnx.NodeProto) -> set[int]:
        """From what a node computes back to what it or another node is known to have."""
        if node.op_type in MOVERS:
            return set()
        found: set[int] = set()
        waiting = [self.stands_for[name] for name in node.output if name in self.stands_for]
        while waiting:
            number = self.producer.get(waiting.pop())
            if number is None or number in found or number in self.constant:
                continue
            found.add(number)
            waiting += [name for name in self.graph.node[number].input if name not in self.known]
        return found

    def _attach(self) -> None:
        """Nodes that move a tensor go with what computes it; those of unknown purpose with the nodes that read them."""
        readers: dict[str, list[int]] = {}
        for number, node in enumerate(self.optimized.node):
            for name in node.input:
                readers.setdefault(name, []).append(number)
        for number in reversed(range(len(self.optimized.node))):
            node = self.optimized.node[number]
            if self.covered[number]:
                continue
            near: Sequence[int] = [n for name in node.output for n in readers.get(name, [])]
            if node.op_type in MOVERS:
                source = self.producer.get(self.stands_for.get(node.input[0], node.input[0]))
                self.covered[number] = {source} if source is not None else set().union(*(self.covered[n] for n in near))
            else:
                self.covered[number] = set().union(*(self.covered[n] for n in near))
