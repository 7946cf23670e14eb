"""Known miscompilations: graphs that a backend builds without a word, and computes wrongly.

The facts are in `table.yaml` (versions, GPUs, precision, what goes wrong, the public report, a workaround), the graphs'
patterns in `patterns`; `compat.checks.miscompiled` makes a rule of each entry, so that `doctor` warns of it offline, and
`compat.workarounds` has those that are a rewrite of the graph.
"""

from enginesmith.compat.miscompiles.table import Miscompilation, table

__all__ = ["Miscompilation", "table"]
