"""A schedule for kernels that have none: register tiles for reductions, all cores for everything.

TVM lowers an unscheduled kernel to one thread of scalar loops. This gives every kernel with static shapes the plain
treatment: a tile of `rows` x `lanes` results is kept in registers while the reduction runs, epilogues are computed where
the tile is written back, and the loops around tiles are spread over the cores. It moves no data to other layouts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

SERIAL_WORK = 1 << 15
"""Loop iterations below which a kernel is not worth waking other threads for."""


@dataclass(frozen=True)
class Tile:
    """Results that a core keeps in its registers while it sums."""

    lanes: int
    """Along the vector axis, one register of float32: measured, wider tiles are 2 to 3 times slower."""
    rows: int
    """Along the axis that shares the vector loads, such as a convolution's output channels."""


def tile_for(mcpu: str) -> Tile:
    """The tile for a processor by its LLVM name: 16 x 16 with AVX-512, 8 x 8 with AVX2, 8 x 4 otherwise.

    Measured on resnet18, 2 cores: 52 ms with AVX-512 (8 x 32: 170 ms), 79 ms with AVX2 (8 x 16: 154 ms).
    """
    if mcpu == "x86-64-v4":
        return Tile(lanes=16, rows=16)
    return Tile(lanes=4 if mcpu in ("", "x86-64", "x86-64-v2") else 8, rows=8)


def schedule(module: Any, tile: Tile) -> Any:
    """Schedule every kernel of a lowered Relax module. One that resists is left as it was."""
    from tvm import IRModule

    functions = {
        name: schedule_kernel(function, tile) if _is_unscheduled(function) else function
        for name, function in module.functions_items()
    }
    return IRModule(functions, attrs=module.attrs)


def _is_unscheduled(function: Any) -> bool:
    from tvm import tirx

    return isinstance(function, tirx.PrimFunc) and "tirx.is_scheduled" not in (function.attrs or {})


def schedule_kernel(function: Any, tile: Tile) -> Any:
    """The kernel with its reductions tiled; if a step doesn't apply, in parallel only; else unchanged."""
    from tvm import s_tir
    from tvm.s_tir.schedule import ScheduleError

    for rule in (partial(_tile_reductions, tile=tile), _parallel_only):
        work = s_tir.Schedule(function)
        try:
            if not _is_static(work) or _is_empty(work):
                return function
            rule(work)
        except ScheduleError:
            continue  # some kernels, scatters among them, have no blocks at all
        return work.mod["main"].with_attr("tirx.is_scheduled", True)
    return function


def _is_empty(work: Any) -> bool:
    """Has a loop no step? TVM divides by the number when it fuses them."""
    return any(0 in _extents(work, block) for block in _blocks(work))


def _tile_reductions(work: Any, tile: Tile) -> None:
    _inline_epilogues(work)
    for block in _blocks(work):
        kinds = _kinds(work, block)
        if "R" not in kinds or kinds.lstrip("S").strip("R"):
            continue  # nothing to tile, or axes in an order that no kernel of TVM's library has
        consumers = work.get_consumers(block)
        spatial = _extents(work, block)[: kinds.count("S")]
        epilogue = consumers[0] if len(consumers) == 1 else None
        if epilogue is None or "R" in _kinds(work, epilogue) or _extents(work, epilogue) != spatial:
            epilogue = work.cache_write(block, 0, "local")
        else:
            work.set_scope(block, 0, "local")
        _tile(work, block, epilogue, spatial, tile)
    for block in _blocks(work):
        _parallelize(work, block)


def _tile(work: Any, block: Any, epilogue: Any, spatial: Sequence[int], tile: Tile) -> None:
    """Compute `block` tile by tile inside `epilogue`, which writes its results where they belong."""
    iterations = math.prod(_extents(work, block))
    wide = max((axis for axis, extent in enumerate(spatial) if extent > 1), default=None)
    if wide is None:
        return
    tall = _shared_axis(work, block, wide)
    loops = work.get_loops(epilogue)
    lanes = _divisor(spatial[wide], tile.lanes)
    rows = 1 if tall is None else _divisor(spatial[tall], tile.rows)
    # Where rows are few (a prime size, a depthwise convolution), more vectors side by side keep the core busy.
    vectors = _divisor(spatial[wide] // lanes, max(1, tile.rows // rows))
    loops[wide], *inner = work.split(loops[wide], factors=[None, vectors, lanes])
    if tall is not None:
        loops[tall], row = work.split(loops[tall], factors=[None, rows])
        inner.insert(0, row)
    work.reorder(*loops, *inner)
    outer = work.fuse(*loops)
    work.vectorize(inner[-1])
    work.compute_at(block, outer, preserve_unit_loops=True)
    own = work.get_loops(block)[1:]
    inner = [*([] if tall is None else [own[tall]]), *work.split(own[wide], factors=[vectors, lanes])]
    summed = own[len(spatial) :]
    work.reorder(*summed, *inner)
    # Before the split into zeroing and summing: a block without its zeroing is no longer known to be a reduction.
    work.vectorize(inner[-1])
    for loop in inner[:-1]:
        work.unroll(loop)
    if iterations > SERIAL_WORK:
        work.parallel(outer)
    work.decompose_reduction(block, summed[0])


def _inline_epilogues(work: Any) -> None:
    """Fold chains of elementwise blocks after a reduction into the last of them."""
    from tvm.s_tir.schedule import ScheduleError

    for block in _blocks(work):
        if "R" not in _kinds(work, block) and work.get_producers(block) and work.get_consumers(block):
            try:
                work.compute_inline(block)
            except ScheduleError:
                continue


def _parallel_only(work: Any) -> None:
    for block in _blocks(work):
        _parallelize(work, block)


def _parallelize(work: Any, block: Any) -> None:
    """Spread the outer spatial loops of an untouched block over the cores; LLVM vectorizes the innermost."""
    loops = work.get_loops(block)
    kinds = _kinds(work, block)
    if not loops or len(work.get_child_blocks(loops[0])) > 1 or math.prod(_extents(work, block)) <= SERIAL_WORK:
        return
    spatial = len(kinds) - len(kinds.lstrip("S"))
    outer = loops[: spatial - 1 if spatial == len(loops) > 1 else spatial]
    if outer:
        work.parallel(work.fuse(*outer))


def _shared_axis(work: Any, block: Any, wide: int) -> int | None:
    """A spatial axis on which no input read along the axis `wide` depends: a tile along it reads those vectors once."""
    from tvm.tirx.analysis import undefined_vars

    statement = work.get(block)
    names = [axis.var for axis in statement.iter_vars]
    kinds = _kinds(work, block)
    taken = {wide}
    for region in statement.reads:
        free_vars = [var for span in region.region for var in undefined_vars(span.min)]
        used = {axis for axis, var in enumerate(names) if any(var.same_as(other) for other in free_vars)}
        if wide in used:
            taken |= used
    extents = _extents(work, block)
    free = [axis for axis in range(kinds.count("S")) if axis not in taken and extents[axis] > 1]
    return max(free, key=lambda axis: extents[axis], default=None)


def _divisor(extent: int, limit: int) -> int:
    """The best divisor of `extent` up to `limit`: whole vectors of 8 where there are any, else the largest."""
    fits = [size for size in range(1, min(extent, limit) + 1) if extent % size == 0]
    return max((size for size in fits if size % 8 == 0), default=fits[-1])


def _blocks(work: Any) -> list[Any]:
    return list(work.get_child_blocks(work.get_sblock("root")))


def _kinds(work: Any, block: Any) -> str:
    """`S` for a data-parallel axis, `R` for a reduction, `O` for others, in the block's order."""
    from tvm.tirx import IterVar

    names = {IterVar.DataPar: "S", IterVar.CommReduce: "R"}
    return "".join(names.get(axis.iter_type, "O") for axis in work.get(block).iter_vars)


def _extents(work: Any, block: Any) -> list[int]:
    return [int(axis.dom.extent) for axis in work.get(block).iter_vars]


def _is_static(work: Any) -> bool:
    from tvm.tirx import IntImm

    axes = [axis for block in _blocks(work) for axis in work.get(block).iter_vars]
    return all(isinstance(axis.dom.extent, IntImm) for axis in axes)
