"""Repairs a model: graph repairs, then every node that is refused, until nothing applies any more.

Each repair is proved on its own, by running what was there and what is there now on the same inputs; one that differs
is taken back and reported. It is tried again when others have changed what it was tried on. Running the models is the
caller's: this package knows no runtime.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import onnx
import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.checks import problems
from enginesmith.compat.findings import BUG, Attempted, Finding, Proof
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import local
from enginesmith.compat.repairs.repair import GraphRepair, Repair, candidates, graph_repairs
from enginesmith.compat.target import Target
from enginesmith.compat.values import Array, label, qualified
from enginesmith.compat.walk import subgraphs

MAX_ROUNDS = 24
"""Repairs feed on each other's results; a graph that is still changing after so many rounds is given up as it is."""
MAX_REFUTED = 4
"""How often a repair may prove wrong, which takes time, before it is no longer tried on what others make of the graph."""


Prove = Callable[[onnx.ModelProto, onnx.ModelProto, float], Proof]
"""Takes the model before, the model after and the tolerance."""


class Engine:
    """Repairs one model for one target. `model` is changed; read it again after `run`, since a rollback replaces it."""

    def __init__(self, model: ir.Model, target: Target, prove: Prove) -> None:
        self.model = model
        self.target = target
        self.prove = prove
        self.attempts: list[Attempted] = []
        self.assumed: dict[str, Array] = {}
        """Contents of graph inputs on which repairs rely, since the declared shapes leave no other."""
        self._changes = 0
        self._refuted: Counter[tuple[str, str]] = Counter()
        self._tried: dict[tuple[str, str], int | bytes] = {}
        """What each repair (node, id) was last tried on: the graph after so many changes, or the node alone. Trying it
        again there would end alike."""

    def run(self, refused: Iterable[Finding] = ()) -> int:
        """Repair what the rules predict and what the backend itself `refused`; returns how many repairs were made."""
        reported = {(finding.node, finding.op) for finding in refused}
        total = 0
        for _ in range(MAX_ROUNDS):
            made = self._graph_repairs()
            self.model = infer(self.model)
            named(self.model)
            wanted = {
                problem.node for problem in problems(self.model, self.target) if problem.finding.severity == "error"
            }
            made += sum(
                self._repair(node)
                for node in _as_they_stand(self.model.graph)
                if node in wanted or any((name, qualified(node)) in reported for name in _names(node))
            )
            total += made
            if not made:
                return total
        return total

    def make(self, repairs: Iterable[GraphRepair]) -> int:
        """Make these repairs of the whole graph, each once; returns how many changes they made."""
        return sum(self._graph_repair(repair) for repair in repairs)

    def left(self) -> list[Finding]:
        """What the rules say about the model as it is."""
        self.model = infer(self.model)
        named(self.model)
        return [problem.finding for problem in problems(self.model, self.target)]

    def _graph_repairs(self) -> int:
        made = 0
        for repair in graph_repairs(self.target.backend):
            if not self._barred(_attempt(repair), self._changes):
                made += self._graph_repair(repair)
        return made

    def _graph_repair(self, repair: GraphRepair) -> int:
        after = self.model.clone()
        try:
            changes = repair.rewrite(after, self.target)
        except NotApplicable as error:
            self._failed(_attempt(repair, None, str(error)), self._changes)
            return 0
        except Exception as error:  # noqa: BLE001 - as for a node's repair; the copy is thrown away
            self._failed(_attempt(repair, None, _bug(error)), self._changes)
            return 0
        if not changes:
            return 0
        proof = self.prove(ir.to_proto(self.model), ir.to_proto(after), repair.tolerance)
        if not proof.agrees:
            self._failed(_attempt(repair, None, proof.reason, proof), self._changes)
            return 0
        self._made(_attempt(repair, None, proof.reason, proof), self._changes)
        self.model = after
        return changes

    def _repair(self, node: ir.Node) -> int:
        """Make the first repair that applies and proves right. 1 if one was made."""
        repairs = candidates(qualified(node), self.target.backend)
        try:
            alone = local.cut_out(node, self.model)
        except NotApplicable as error:
            for repair in repairs:
                self._failed(_attempt(repair, node, str(error)), self._changes)
            return 0
        state = _digest(alone)
        for repair in repairs:
            if self._barred(_attempt(repair, node), state):
                continue
            try:
                proof = self._proof(repair, alone)
                if proof.agrees:
                    self._keep(local.apply(repair, node, self.target).cases)
                    self._made(_attempt(repair, node, proof.reason, proof), state)
                    return 1
                self._failed(_attempt(repair, node, proof.reason, proof), state)
            except NotApplicable as error:
                self._failed(_attempt(repair, node, str(error)), state)
            except Exception as error:  # noqa: BLE001 - a bug in one of many repairs must not cost the user the others
                self._failed(_attempt(repair, node, _bug(error)), state)
        return 0

    def _barred(self, attempt: Attempted, state: int | bytes) -> bool:
        """Would trying it again be for nothing?"""
        key = (attempt.node, attempt.repair)
        return self._tried.get(key) == state or self._refuted[key] >= MAX_REFUTED

    def _made(self, attempt: Attempted, on: int | bytes) -> None:
        self._note(attempt, on)
        self._changes += 1

    def _failed(self, attempt: Attempted, on: int | bytes) -> None:
        self._note(attempt, on)
        self._refuted[attempt.node, attempt.repair] += attempt.proof is not None

    def _note(self, attempt: Attempted, on: int | bytes) -> None:
        """Of a repair that is tried again, what came of it before is no longer true, unless it was made."""
        key = (attempt.node, attempt.repair)
        self._tried[key] = on
        self.attempts = [old for old in self.attempts if old.made or (old.node, old.repair) != key]
        self.attempts.append(attempt)

    def _keep(self, cases: list[dict[str, Array]]) -> None:
        """Note what graph inputs must contain, where a repair left one possibility."""
        if len(cases) == 1:
            inputs = {value.name for value in self.model.graph.inputs}
            self.assumed.update({name: content for name, content in cases[0].items() if name in inputs})

    def _proof(self, repair: Repair, before: onnx.ModelProto) -> Proof:
        """Try the repair on a node alone. Raises NotApplicable."""
        after = ir.from_proto(before)
        inner = next(iter(infer(after).graph))
        builder = local.apply(repair, inner, self.target)
        repaired = ir.to_proto(after)
        proof = Proof(agrees=True)
        for case in builder.cases or [{}]:
            shown = self.prove(local.fixed(before, case), local.fixed(repaired, case), repair.tolerance)
            proof = Proof(
                agrees=shown.agrees,
                error=max(proof.error, shown.error),
                samples=proof.samples + shown.samples,
                reason=shown.reason,
            )
            if not proof.agrees:
                break
        return proof


def _as_they_stand(graph: ir.Graph) -> Iterator[ir.Node]:
    """The nodes of now, an outer one before those within it; none of a body that went with the node around it."""
    for node in list(graph):
        inside = subgraphs(node)
        yield node
        if node.graph is graph:
            for inner in inside:
                yield from _as_they_stand(inner)


def _names(node: ir.Node) -> list[str]:
    """What a finding may call a node: its name, or an output's where it had none."""
    return [label(node), *(value.name or "" for value in node.outputs)]


def _attempt(
    repair: Repair | GraphRepair, node: ir.Node | None = None, reason: str = "", proof: Proof | None = None
) -> Attempted:
    name, op = (label(node), qualified(node)) if node is not None else ("", "")
    return Attempted(repair=repair.id, node=name, op=op, proof=proof, reason=reason)


def _digest(alone: onnx.ModelProto) -> bytes:
    """Tells a node with its inputs' types and constants from what it was before other repairs."""
    digest = hashlib.sha256()
    for tensor in alone.graph.initializer:
        digest.update(tensor.SerializeToString(deterministic=True))
    rest = onnx.ModelProto()
    rest.CopyFrom(alone)
    del rest.graph.initializer[:]
    digest.update(rest.SerializeToString(deterministic=True))
    return digest.digest()


def _bug(error: Exception) -> str:
    return f"{BUG}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
