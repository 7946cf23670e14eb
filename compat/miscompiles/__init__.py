"""Known miscompilations: graphs that a backend builds without a word, and computes wrongly.

The facts are in `table.yaml` (versions, GPUs, precision, what goes wrong, the public report, a workaround), the graphs'
patterns in `patterns`, and the workarounds that can be made by a rewrite of the graph in `workarounds`;
`compat.checks.miscompiled` makes a rule of each entry, so that `doctor` warns of it offline.
"""

from enginesmith.compat.miscompiles.table import Miscompilation, table

__all__ = ["Miscompilation", "table"]
