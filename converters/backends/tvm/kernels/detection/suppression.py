"""The steps of `GroupedSuppression`: what survives of each state of a block, and the walk through the blocks.

Both are recognized by their form alone and hold for any numbers, not only for the masks that suppression has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Settings
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, shape_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO
from enginesmith.converters.backends.tvm.kernels.normalization import reduce, vectors

MOST_ROWS = 8
"""Of a matrix whose state stays in registers."""


def match_rounds(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """`relu(bias + matrices @ x)`, over and over from `x = bias` on; `node` is the last of them."""
    inner: list[Node] = []
    matrices = bias = None
    rounds = 0
    last: Any = node.var
    while relu := graph.producer_of(last, "relu"):
        add = graph.producer_of(relu.inputs[0], "add")
        if add is None:
            break
        constant, product = sorted(add.inputs, key=lambda tensor: graph.constant(tensor) is None)
        matmul = graph.producer_of(product, "matmul")
        if matmul is None or graph.constant(constant) is None:
            break
        if rounds and not (matmul.inputs[0].same_as(matrices) and _equal(graph, constant, bias)):
            break
        matrices, bias = matmul.inputs[0], constant
        inner += [relu, add, matmul]
        rounds += 1
        last = matmul.inputs[1]
    given, state = (shape_of(matrices), shape_of(bias)) if rounds > 1 else (None, None)
    if given is None or state is None or not _equal(graph, last, bias):
        return None
    if len(given) != 3 or len(state) != 2 or given[1:] != (state[0], state[0]) or state[0] > MOST_ROWS or state[1] < 4:
        return None
    sources = [(matrices, 0, NO_HALO), (bias, 0, NO_HALO)]
    return Anchor("rounds", None, sources, lambda s, t, e: Rounds(settings.simd, given, state, rounds),
                  inner=inner[1:], fuses=False)  # fmt: skip


def match_blocks(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """`node` joins the vectors that the blocks give, each `table @ relu(patterns @ relu(row @ all before it))`."""
    if len(node.inputs) < 2 or int(node.attrs.axis) != 2:
        return None
    rows, tables, inner = [], [], []
    patterns = None
    for index, part in enumerate(node.inputs):
        product = graph.producer_of(part, "matmul")
        state = graph.producer_of(product.inputs[1], "relu") if product else None
        scores = graph.producer_of(state.inputs[0], "matmul") if state else None
        now = graph.producer_of(scores.inputs[1], "relu") if scores else None
        seen = graph.producer_of(now.inputs[0], "matmul") if now else None
        if product is None or state is None or scores is None or now is None or seen is None:
            return None
        if index and not _equal(graph, scores.inputs[0], patterns):
            return None
        patterns = scores.inputs[0]
        before = graph.producer_of(seen.inputs[1], "concat")
        if not _is_vector(graph, before.inputs if before else [seen.inputs[1]], node.inputs[:index]):
            return None
        rows.append(seen.inputs[0])
        tables.append(product.inputs[0])
        inner += [product, state, scores, now, seen, *([before] if before else [])]
    all_rows, first_row, cuts = graph.rejoined(rows, 1)
    all_tables, first_table, more = graph.rejoined(tables, 1)
    if all_rows is None or all_tables is None:
        return None
    given, table, weights = shape_of(all_rows), shape_of(all_tables), graph.constant(patterns)
    if given is None or table is None or weights is None or len(given) != 4 or len(table) != 4:
        return None
    groups, _, tall, length = given
    block, states = table[2:]
    fits = tall == block + 1 and weights.shape == (states, tall) and length == 1 + block * len(rows)
    fits = fits and shape_of(node.var) == (groups, 1, length - 1, 1)
    if not fits or table[0] != groups or min(states, length) < 4:
        return None
    sources = [(all_rows, 0, NO_HALO), (all_tables, 0, NO_HALO)]
    return Anchor("suppression", None, sources,
                  lambda s, t, e: Blocks(settings.simd, given, table, len(rows), first_row, first_table),
                  weights, inner=inner + cuts + more, fuses=False)  # fmt: skip


def _is_vector(graph: Graph, inputs: list[Any], parts: list[Any]) -> bool:
    """Are `inputs` a one, then `parts`, then zeros?"""
    constants = [graph.constant(tensor) for tensor in inputs]
    middle = [tensor for tensor, value in zip(inputs, constants, strict=True) if value is None]
    if len(middle) != len(parts) or not all(a.same_as(b) for a, b in zip(middle, parts, strict=True)):
        return False
    held = [value for value in constants if value is not None]
    if parts and (constants[0] is None or constants[0].size != constants[0].shape[0]):
        return False
    # Along the axis of the vector: [groups, 1, length, 1].
    joined = np.concatenate(held, axis=2) if all(value.ndim == 4 for value in held) else np.zeros((1, 1, 1, 1))
    ordered = not parts or all(value is None for value in constants[1 : 1 + len(parts)])
    return ordered and bool((joined[:, :, :1] == 1).all()) and not joined[:, :, 1:].any()


def _equal(graph: Graph, left: Any, right: Any) -> bool:
    if left.same_as(right):
        return True
    a, b = graph.constant(left), graph.constant(right)
    return a is not None and b is not None and np.array_equal(a, b)


class Rounds:
    """float32[n, rows, columns]. Parameters of `kernel()`: matrices float32[n, rows, rows], bias float32[rows, columns],
    result. Columns don't know of each other, so that a vector of them stays in registers through all rounds.
    """

    def __init__(self, simd: Simd, matrices: tuple[int, ...], bias: tuple[int, ...], rounds: int) -> None:
        self.matrices, self.bias, self.rounds = matrices, bias, rounds
        self.simd = _narrowed(simd, bias[1])

    def kernel(self, name: str) -> Any:
        simd, (count, rows, _), (_, columns) = self.simd, self.matrices, self.bias
        lanes = simd.lanes

        def body() -> None:
            matrices, bias = argument("matrices", self.matrices), argument("bias", self.bias)
            result = argument("result", (count, rows, columns))
            with tasks(count, count * columns * rows * rows * self.rounds) as task:

                def settle(column: Any) -> None:
                    state = T.alloc_buffer((rows * lanes,), "float32", scope="local")
                    for row in range(rows):
                        simd.store(state, simd.load(bias, row, column), row * lanes)
                    with T.serial(self.rounds):
                        before = [T.Bind(simd.load(state, row * lanes)) for row in range(rows)]
                        for row in range(rows):
                            total = simd.load(bias, row, column)
                            for other in range(rows):
                                total = simd.fma(simd.splat(matrices[task, row, other]), before[other], total)
                            simd.store(state, T.max(simd.splat(0.0), total), row * lanes)
                    for row in range(rows):
                        simd.store(result, simd.load(state, row * lanes), task, row, column)

                vectors(simd, columns, settle)

        return function(name, body)


class Blocks:
    """float32[groups, 1, blocks * block, 1].

    Parameters of `kernel()`: rows float32[groups, all blocks, 1 + block, 1 + blocks * block], tables float32[groups, all
    blocks, block, states], patterns as `pack` gives them, result.
    """

    def __init__(
        self, simd: Simd, rows: tuple[int, ...], tables: tuple[int, ...], blocks: int, first_row: int, first_table: int
    ) -> None:
        self.rows, self.tables, self.blocks = rows, tables, blocks
        self.first_row, self.first_table = first_row, first_table
        self.simd = _narrowed(simd, min(rows[3], tables[3]))

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[states, 1 + block], transposed."""
        return np.ascontiguousarray(weights.T)

    def kernel(self, name: str) -> Any:
        simd, (groups, _, tall, length), (_, _, block, states) = self.simd, self.rows, self.tables

        def body() -> None:
            rows, tables = argument("rows", self.rows), argument("tables", self.tables)
            patterns = argument("patterns", (tall, states))
            result = argument("result", (groups, 1, self.blocks * block, 1))
            with tasks(groups, groups * self.blocks * (tall * length + states * (tall + block))) as group:
                kept = T.alloc_buffer((length,), "float32")
                now, state = T.alloc_buffer((tall,), "float32"), T.alloc_buffer((states,), "float32")
                with T.serial(length) as place:
                    T.buffer_store(kept, T.Select(place == 0, T.float32(1), T.float32(0)), [place])
                with T.serial(self.blocks) as step:
                    with T.serial(tall) as row:
                        total = _dot(simd, length, lambda at: simd.load(rows, group, step + self.first_row, row, at),
                                     lambda at: simd.load(kept, at))  # fmt: skip
                        T.buffer_store(now, T.max(T.float32(0), total), [row])

                    def score(column: Any) -> None:
                        total = simd.load(patterns, 0, column) * simd.splat(now[0])
                        for row in range(1, tall):
                            total = simd.fma(simd.load(patterns, row, column), simd.splat(now[row]), total)
                        simd.store(state, T.max(simd.splat(0.0), total), column)

                    vectors(simd, states, score)
                    with T.serial(block) as row:
                        total = _dot(simd, states, lambda at: simd.load(tables, group, step + self.first_table, row, at),
                                     lambda at: simd.load(state, at))  # fmt: skip
                        T.buffer_store(kept, total, [1 + step * block + row])
                        T.buffer_store(result, total, [group, 0, step * block + row, 0])

        return function(name, body)


def _dot(simd: Simd, count: int, left: Any, right: Any) -> Any:
    return reduce(simd, count, lambda at: left(at) * right(at), lambda a, b: a + b, 0.0)


def _narrowed(simd: Simd, columns: int) -> Simd:
    return simd.narrowed(max(lanes for lanes in (4, 8, 16) if lanes <= min(simd.lanes, columns)))
