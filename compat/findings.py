"""What a check says about one node of a graph."""

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
    repair_id: str | None = None
    """The repair that applies, if one does."""
