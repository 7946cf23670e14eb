"""A rule: what a backend refuses about a node, known without asking the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from enginesmith.compat import plugins
from enginesmith.compat.target import Target

if TYPE_CHECKING:
    from enginesmith.compat.findings import Severity

ModelCheck = Callable[[ir.Model, Target], Iterable[str]]
"""Returns what is wrong with a model as a whole for a target."""
NodeCheck = Callable[[ir.Node, Target], str | None]
"""Returns what is wrong with a node for a target, None if nothing is. Unknown shapes and dtypes are not wrong."""

RULES: dict[str, Rule] = plugins.registry()
"""Every rule by its id, in the order of registration."""


@dataclass(frozen=True)
class Rule:
    """One restriction of one backend (or a family of backends).

    `ops` are qualified operator types, `*` for every one; `versions` is a range such as `>=8.5,<10` (empty: all).
    `example` is a minimal model, in ONNX's textual form, to which the rule applies.
    """

    id: str
    ops: tuple[str, ...]
    backends: tuple[str, ...]
    versions: str
    severity: Severity
    remedy: str
    source: str
    example: str
    check: NodeCheck
    silent: bool
    """The backend takes the node without a word, and computes something else: no trial shows what the rule says."""
    remedies: Mapping[str, str]
    """What to do about some operators in particular, in the place of `remedy`."""
    gpus: tuple[str, ...] = ()
    """Compute capabilities that it is about; empty for all. On a GPU that isn't known it may apply."""

    @property
    def cause(self) -> str:
        """The rule's documentation: what the backend refuses, and why."""
        return " ".join((self.check.__doc__ or "").split())

    def applies_to(self, target: Target) -> bool:
        here = not (self.gpus and target.gpu) or target.gpu in self.gpus
        return here and target.backend in self.backends and target.within(self.versions)


MODEL_RULES: dict[str, ModelRule] = plugins.registry()
"""Every rule about whole models by its id."""


@dataclass(frozen=True)
class ModelRule:
    """One thing about a whole model that a backend refuses, or that no tool reads as it is meant."""

    id: str
    backends: tuple[str, ...]
    versions: str
    severity: Severity
    remedy: str
    source: str
    check: ModelCheck

    @property
    def cause(self) -> str:
        """The rule's documentation, as a node's rule has it."""
        return " ".join((self.check.__doc__ or "").split())

    def applies_to(self, target: Target) -> bool:
        return target.backend in self.backends and target.within(self.versions)


def rule(
    id: str,
    *,
    ops: str | Iterable[str],
    backends: Sequence[str],
    remedy: str,
    source: str,
    example: str,
    versions: str = "",
    severity: Severity = "error",
    silent: bool = False,
    remedies: Mapping[str, str] | None = None,
    gpus: Sequence[str] = (),
) -> Callable[[NodeCheck], NodeCheck]:
    """Register a function as a rule. Its docstring is the cause that the rule's page shows."""

    def register(check: NodeCheck) -> NodeCheck:
        if id in RULES:
            raise ValueError(f"two rules {id}")
        operators = (ops,) if isinstance(ops, str) else tuple(ops)
        RULES[id] = Rule(
            id=id,
            ops=operators,
            backends=tuple(backends),
            versions=versions,
            severity=severity,
            remedy=remedy,
            source=source,
            example=example.strip(),
            check=check,
            silent=silent,
            remedies=remedies or {},
            gpus=tuple(gpus),
        )
        return check

    return register


def model_rule(
    id: str,
    *,
    backends: Sequence[str],
    remedy: str,
    source: str,
    versions: str = "",
    severity: Severity = "error",
) -> Callable[[ModelCheck], ModelCheck]:
    """Register a function as a rule about whole models. Its docstring is the cause that the rule's page shows."""

    def register(check: ModelCheck) -> ModelCheck:
        if id in MODEL_RULES or id in RULES:
            raise ValueError(f"two rules {id}")
        MODEL_RULES[id] = ModelRule(id, tuple(backends), versions, severity, remedy, source, check)
        return check

    return register
