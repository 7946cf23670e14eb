"""What a check says about a node of a graph, and what became of a repair."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Severity = Literal["error", "warning", "info"]


class Finding(BaseModel, frozen=True):
    """One thing that a backend refuses, or accepts only with a loss."""

    severity: Severity
    op: str
    """Operator type, with its domain where that is not the default one."""
    node: str
    """Name of the node, or of its first output where it has no name; empty when it concerns the whole graph."""
    backend: str
    versions: str
    """The backend's version that said so, or a range of versions."""
    message: str
    remedy: str = ""
    rule: str = ""
    """Id of the rule that predicted it; empty where the backend itself said so."""
    silent: bool = False
    """The backend takes the node without a word and computes something else: only a rule knows."""
    repair_id: str | None = None
    """The repair that would mend it, if one does: `compat.mending` says."""


class Proof(BaseModel, frozen=True, ser_json_inf_nan="strings"):
    """What running two models on the same inputs showed.

    `error` is the largest absolute difference divided by the output's largest magnitude; `samples` is the number of
    input sets that the model before took. `reason` says why nothing could be shown, or what differs. `ran` is False where
    the model before couldn't be run, so that nothing speaks for the repair and nothing against it.
    """

    agrees: bool
    error: float = 0.0
    samples: int = 0
    reason: str = ""
    ran: bool = True


BUG = "a bug of the repair"
"""How the reason of a repair begins that was not made for a fault of its own."""


class Attempted(BaseModel, frozen=True):
    """One repair that was made (`proof.agrees`), taken back, or found not to apply (`proof` is None)."""

    repair: str
    node: str
    op: str
    proof: Proof | None = None
    reason: str = ""

    @property
    def made(self) -> bool:
        return self.proof is not None and self.proof.agrees
