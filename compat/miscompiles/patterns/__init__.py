"""The graphs that are miscompiled: each function says what it is about a node that makes it one of them, or None.

One module a family of graphs. `pattern` registers a function under its own name, by which `table.yaml` calls it.
"""

from importlib import import_module
from pkgutil import iter_modules

from enginesmith.compat.miscompiles.patterns.registry import PATTERNS, Pattern

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["PATTERNS", "Pattern"]
