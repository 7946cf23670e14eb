"""Known miscompilations: graphs that a backend builds without a word, and computes wrongly.

The facts are in `table.yaml` (versions, GPUs, precision, what goes wrong, the public report, a workaround), the graph's patterns
in `patterns.py`; `compat.checks.miscompiled` makes a rule of each, so that `doctor` warns of it offline.
"""

from enginesmith.compat.miscompiles.table import Miscompilation, table

__all__ = ["Miscompilation", "table"]
