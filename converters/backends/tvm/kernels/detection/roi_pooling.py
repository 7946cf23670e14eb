"""Pooling of boxes as the static detectors write it: rows gathered from a table, weighted along y and then along x.

In the graph these are a Gather and two batched products for each chunk of boxes, and one Concat of the chunks. One kernel
does it box by box, so that what is gathered never leaves the caches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Settings
from enginesmith.converters.backends.tvm.kernels.detection.indices import unguarded
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, shape_of, sizes_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO
from enginesmith.converters.backends.tvm.kernels.products import RowsOutput

VECTORS = 2


@dataclass
class Part:
    """One chunk: what it reads, and the operators that it consists of."""

    table: Any
    cells: Any
    down: Any
    across: Any
    nodes: list[Node] = field(default_factory=list)


def match(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """`node` is the product along x of a single chunk, or the concatenation of all of them."""
    if node.short_op == "matmul":
        part = _part(graph, node)
        return _anchor(settings, node, part, part.nodes[1:]) if part else None
    if int(node.attrs.axis) != 0 or len(node.inputs) < 2:
        return None
    parts = [_part(graph, graph.producer.get(tensor)) for tensor in node.inputs]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts) or any(not part.table.same_as(found[0].table) for part in found):
        return None
    inner = [node for part in found for node in part.nodes]
    whole = []
    for name in ("cells", "down", "across"):
        source, _, cuts = graph.rejoined([getattr(part, name) for part in found], 0)
        if source is None or (sizes_of(source) or (0,))[0] != (sizes_of(node.var) or (0,))[0]:
            return None
        whole.append(source)
        inner += cuts
    return _anchor(settings, node, Part(found[0].table, *whole), inner)


def _part(graph: Graph, node: Node | None) -> Part | None:
    """The chunk that ends with the product `node`."""
    if node is None or node.short_op != "matmul":
        return None
    across, rows = node.inputs
    reshape = graph.producer_of(rows, "reshape")
    product = graph.producer_of(reshape.inputs[0], "matmul") if reshape else None
    cut = graph.producer_of(product.inputs[1], "reshape") if product else None
    gather = graph.producer_of(cut.inputs[0], "take") if cut else None
    if reshape is None or product is None or cut is None or gather is None:
        return None
    down = product.inputs[0]
    table, index = gather.inputs
    held = shape_of(table)
    if gather.attrs.axis is None or int(gather.attrs.axis) != 0 or held is None or len(held) != 2:
        return None
    cells, guards = unguarded(graph, index, held[0])
    flat = graph.producer_of(cells, "reshape")
    if flat:
        cells, guards = flat.inputs[0], [*guards, flat]
    given, first, last = sizes_of(cells), shape_of(down), shape_of(across)
    if given is None or first is None or last is None or str(cells.ty.dtype) != "int64":
        return None
    if not (len(given) == 3 and len(first) == len(last) == 4):
        return None
    boxes, rows_of_cells, columns = given
    bins, samples = first[1], first[3]
    channels = held[1]
    fits = (
        first == (boxes, bins, 1, samples)
        and last == (boxes, 1, last[2], columns)
        and rows_of_cells == bins * samples
        and shape_of(cut.var) == (boxes, bins, samples, columns * channels)
        and shape_of(reshape.var) == (boxes, bins, columns, channels)
    )
    return Part(table, cells, down, across, [node, reshape, product, cut, gather, *guards]) if fits else None


def _anchor(settings: Settings, node: Node, part: Part, inner: list[Node]) -> Anchor | None:
    table, cells, down, across = ((sizes_of(t) or ()) for t in (part.table, part.cells, part.down, part.across))
    if table[1] < 4:
        return None
    sources = [(tensor, 0, NO_HALO) for tensor in (part.table, part.cells, part.down, part.across)]
    return Anchor("box pooling", None, sources,
                  lambda s, t, e: BoxPooling(settings.simd, table, cells, down, across, e), inner=inner)  # fmt: skip


class BoxPooling:
    """float32[boxes, bins along y, bins along x, channels].

    Parameters of `kernel()`: the table float32[rows, channels], int64[boxes, bins * samples, columns] rows of it, which
    count from its end where negative, weights float32[boxes, bins, 1, samples] and float32[boxes, 1, bins, columns],
    operands of the expression, result.
    """

    def __init__(
        self,
        simd: Simd,
        table: tuple[int, ...],
        cells: tuple[int, ...],
        down: tuple[int, ...],
        across: tuple[int, ...],
        expression: Expression,
    ) -> None:
        self.table, self.cells, self.down, self.across, self.expression = table, cells, down, across, expression
        self.simd = simd.narrowed(max(lanes for lanes in (4, 8, 16) if lanes <= min(simd.lanes, table[1])))

    def kernel(self, name: str) -> Any:
        (boxes, _, columns), channels = self.cells, self.table[1]
        bins, wide = self.down[1], self.across[2]
        work = boxes * bins * columns * channels * (self.down[3] + wide)

        def body() -> None:
            table = argument("table", self.table)
            cells = argument("cells", self.cells, "int64")
            down, across = argument("down", self.down), argument("across", self.across)
            output = RowsOutput(self.simd, (boxes, bins, wide, channels), self.expression)
            with tasks(boxes, work) as box:
                rows = T.alloc_buffer((columns * channels,), "float32")
                with T.serial(bins) as y:
                    with T.serial(columns) as column:
                        self._weigh(table, cells, down, rows, box, y, column)
                    width = min(VECTORS, channels // self.simd.lanes) * self.simd.lanes
                    with T.serial(-(-channels // width)) as tile:
                        first = T.Bind(T.min(tile * width, channels - width))
                        for start, size, count in tiles.runs(wide, tiles.pixels_for(self.simd, VECTORS)):
                            with T.serial(count) as run:
                                self._sum(across, rows, output, box, y, start + run * size, size, first, width)

        return function(name, body)

    def _weigh(self, table: Any, cells: Any, down: Any, rows: Any, box: Any, y: Any, column: Any) -> None:
        """One row: the weighted sum of the rows that lie along y."""
        simd, channels, samples = self.simd, self.table[1], self.down[3]
        places, weights = [], []
        for sample in range(samples):
            cell = T.Bind(cells[box, y * samples + sample, column])
            places.append(T.Bind(T.cast(T.Select(cell < 0, cell + self.table[0], cell), "int32")))
            weights.append(T.Bind(simd.splat(down[box, y, 0, sample])))

        def add(channel: Any) -> None:
            total = simd.load(table, places[0], channel) * weights[0]
            for place, weight in zip(places[1:], weights[1:], strict=True):
                total = simd.fma(simd.load(table, place, channel), weight, total)
            simd.store(rows, total, column * channels + channel)

        with T.serial(channels // simd.lanes) as vector:
            add(vector * simd.lanes)
        if channels % simd.lanes:
            add(channels - simd.lanes)

    def _sum(
        self,
        across: Any,
        rows: Any,
        output: RowsOutput,
        box: Any,
        y: Any,
        start: Any,
        size: int,
        first: Any,
        width: int,
    ) -> None:
        """`size` bins from `start` on, `width` channels from `first` on."""
        simd, channels, columns = self.simd, self.table[1], self.cells[2]
        vectors = width // simd.lanes
        sums = simd.zeros(size * vectors)
        with T.serial(columns) as column:
            parts = [T.Bind(simd.load(rows, column * channels + first + v * simd.lanes)) for v in range(vectors)]
            for step in range(size):
                weight = T.Bind(simd.splat(across[box, 0, start + step, column]))
                for v, part in enumerate(parts):
                    at = (step * vectors + v) * simd.lanes
                    simd.store(sums, simd.fma(part, weight, simd.load(sums, at)), at)
        bins, wide = self.down[1], self.across[2]
        for step in range(size):
            for v in range(vectors):
                row = (box * bins + y) * wide + start + step
                output.write(simd.load(sums, (step * vectors + v) * simd.lanes), row, first + v * simd.lanes)
