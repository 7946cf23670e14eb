"""What the graph's tables and sizes allow its integer inputs to be."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from enginesmith.compat.values import argument, attribute, constant, shape
from enginesmith.converters.graphs.coverage import from_data
from enginesmith.converters.graphs.structure import ordered

CARRIERS = frozenset(
    (
        *("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
        *("Slice", "Expand", "Tile", "Concat", "Split"),
    )
)
"""They move integers, and change none."""
TABLES: Mapping[str, int] = {"Gather": 0, "GatherElements": 0, "ScatterElements": 0}
"""Operators with a table and, behind it, indices along an axis."""
SIZED: Mapping[str, tuple[int, ...]] = {
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Tile": (1,),
    "Pad": (1,),
    "Resize": (2, 3),
    "Loop": (0, 1),
    "OneHot": (1,),
}
"""Inputs that decide how large a result is, or how often something runs."""


def index_ranges(graph: ir.Graph) -> dict[str, tuple[int, int]]:
    """Inputs that are indices, each with the lowest and the highest one that every table takes."""
    sources: dict[ir.Value, set[str]] = {value: {str(value.name)} for value in graph.inputs}
    found: dict[str, tuple[int, int]] = {}
    for node in graph:
        if node.op_type in CARRIERS:
            carried = {name for value in node.inputs if value is not None for name in sources.get(value, ())}
            sources |= dict.fromkeys(node.outputs, carried)
        table, index = argument(node, 0), argument(node, 1)
        if index is None or index not in sources:
            continue
        sizes = shape(table)
        if node.op_type in TABLES and sizes:
            count = sizes[attribute(node, "axis", 0)]
        elif node.op_type in ("GatherND", "ScatterND") and sizes and (width := (shape(index) or [None])[-1]):
            known = [size for size in sizes[:width] if size is not None]
            count = min(known) if len(known) == width else None
        else:
            continue
        for name in sources[index] if count else ():
            low, high = found.get(name, (0, count - 1))
            found[name] = (low, min(high, count - 1))
    return found


def decides_sizes(graph: ir.Graph) -> bool:
    """Does the data decide how large a tensor is, or how often a loop runs? Large numbers would fill the memory then."""
    dependent = from_data(graph)
    for node in ordered(graph):
        if any(argument(node, place) in dependent for place in SIZED.get(node.op_type, ()) if argument(node, place)):
            return True
        if node.op_type == "Loop" and constant(argument(node, 0)) is None:
            return True
    return False
