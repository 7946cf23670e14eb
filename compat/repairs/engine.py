"""Repairs a model: graph repairs, then every node that is refused, until nothing applies any more.

Each repair is proved on its own, by running what was there and what is there now on the same inputs; one that differs
is taken back and reported. Running the models is the caller's: this package knows no runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx
import onnx_ir as ir

from enginesmith.compat.checks import problems
from enginesmith.compat.findings import BUG, Attempted, Finding, Proof
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import local
from enginesmith.compat.repairs.repair import GRAPH_REPAIRS, GraphRepair, NotApplicable, Repair, candidates
from enginesmith.compat.target import Target
from enginesmith.compat.values import Array, label, qualified

MAX_ROUNDS = 24
"""Repairs feed on each other's results; a graph that is still changing after so many rounds is given up as it is."""


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
        self._tried: set[tuple[str, str]] = set()

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
            for node in list(self.model.graph.all_nodes()):
                if node in wanted or any((name, qualified(node)) in reported for name in _names(node)):
                    made += self._repair(node)
            total += made
            if not made:
                return total
        return total

    def left(self) -> list[Finding]:
        """What the rules say about the model as it is."""
        self.model = infer(self.model)
        named(self.model)
        return [problem.finding for problem in problems(self.model, self.target)]

    def _graph_repairs(self) -> int:
        made = 0
        for repair in GRAPH_REPAIRS.values():
            if self.target.backend in repair.backends and ("", repair.id) not in self._tried:
                made += self._graph_repair(repair)
        return made

    def _graph_repair(self, repair: GraphRepair) -> int:
        after = self.model.clone()
        try:
            changes = repair.rewrite(after, self.target)
        except NotApplicable as error:
            # Another repair may make it applicable: it is tried again in the next round.
            attempt = Attempted(repair=repair.id, node="", op="", reason=str(error))
            if attempt not in self.attempts:
                self.attempts.append(attempt)
            return 0
        except Exception as error:  # noqa: BLE001 - as for a node's repair; the copy is thrown away
            self._tried.add(("", repair.id))
            self.attempts.append(Attempted(repair=repair.id, node="", op="", reason=_bug(error)))
            return 0
        if not changes:
            return 0
        proof = self.prove(ir.to_proto(self.model), ir.to_proto(after), repair.tolerance)
        self.attempts.append(Attempted(repair=repair.id, node="", op="", proof=proof, reason=proof.reason))
        if not proof.agrees:
            self._tried.add(("", repair.id))
            return 0
        self.model = after
        return changes

    def _repair(self, node: ir.Node) -> int:
        """Make the first repair that applies and proves right. 1 if one was made."""
        for repair in candidates(qualified(node), self.target.backend):
            key = (label(node), repair.id)
            if key in self._tried:
                continue
            self._tried.add(key)
            proof: Proof | None
            try:
                shown = self._proof(repair, node)
            except NotApplicable as error:
                proof, reason = None, str(error)
            except Exception as error:  # noqa: BLE001 - a bug in one of many repairs must not cost the user the others
                proof, reason = None, _bug(error)
            else:
                proof, reason = shown, shown.reason
                if shown.agrees:
                    self._keep(local.apply(repair, node, self.target).cases)
            attempt = Attempted(repair=repair.id, node=key[0], op=qualified(node), proof=proof, reason=reason)
            self.attempts.append(attempt)
            if attempt.made:
                return 1
        return 0

    def _keep(self, cases: list[dict[str, Array]]) -> None:
        """Note what graph inputs must contain, where a repair left one possibility."""
        if len(cases) == 1:
            inputs = {value.name for value in self.model.graph.inputs}
            self.assumed.update({name: content for name, content in cases[0].items() if name in inputs})

    def _proof(self, repair: Repair, node: ir.Node) -> Proof:
        """Try the repair on the node alone. Raises NotApplicable."""
        before = local.cut_out(node, self.model)
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


def _names(node: ir.Node) -> list[str]:
    """What a finding may call a node: its name, or an output's where it had none."""
    return [label(node), *(value.name or "" for value in node.outputs)]


def _bug(error: Exception) -> str:
    return f"{BUG}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
