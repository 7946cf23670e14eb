"""Repairs: one module per family of operators; importing this package registers them all, and those of `compat.families`."""

from importlib import import_module
from pkgutil import iter_modules

from enginesmith.compat.findings import Attempted, Proof
from enginesmith.compat.repairs.engine import Engine, Prove
from enginesmith.compat.repairs.local import applicable
from enginesmith.compat.repairs.repair import GRAPH_REPAIRS, REPAIRS, candidates, graph_repairs

for _module in iter_modules(__path__):
    if _module.name not in ("engine", "repair", "local", "order"):
        import_module(f"{__name__}.{_module.name}")
import_module("enginesmith.compat.families")

__all__ = [
    "GRAPH_REPAIRS",
    "REPAIRS",
    "Attempted",
    "Engine",
    "Proof",
    "Prove",
    "applicable",
    "candidates",
    "graph_repairs",
]
