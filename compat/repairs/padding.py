"""Pad and CenterCropPad in the forms that backends refuse."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Arithmetic, Operand
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, dtype, shape, static_shape

INT_MAX = np.iinfo(np.int64).max


@repair(
    "pad-cropped",
    ops="Pad",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pad (float[2, 5, 6] x) => (float[2, 6, 6] y) <int64[4] pads = {2, -1, -1, 1}, int64[2] axes = {1, -1}> {
  y = Pad (x, pads, "", axes)
}
""",
)
def pad_cropped(node: ir.Node, build: Builder) -> Replacement:
    """Negative padding is a Slice, and padding of some axes is padding of all of them, by nothing for the others."""
    x, pads = node.inputs[0], constant(argument(node, 1))
    axes = _axes(node)
    sizes = shape(x)
    if x is None or pads is None or axes is None or sizes is None or build.opset < 11:
        raise NotApplicable("its padding is known at run time only")
    if argument(node, 3) is None and pads.min(initial=0) >= 0:
        raise NotApplicable("it has that form already")
    before, after = [0] * len(sizes), [0] * len(sizes)
    for place, axis in enumerate(axes):
        before[axis], after[axis] = int(pads[place]), int(pads[place + len(axes)])
    less = [axis for axis in range(len(sizes)) if before[axis] < 0 or after[axis] < 0]
    if less and attribute(node, "mode", "constant") not in ("constant", "edge"):
        raise NotApplicable("what is mirrored may lie in what is cut off")
    y: ir.Value = x
    if less:
        starts = [max(-before[axis], 0) for axis in less]
        ends = [INT_MAX if after[axis] >= 0 else after[axis] for axis in less]
        y = build.op("Slice", y, *(np.asarray(part, np.int64) for part in (starts, ends, less)))
    more = np.asarray([max(n, 0) for n in (*before, *after)])
    return build.op("Pad", y, more, argument(node, 2), mode=attribute(node, "mode")) if more.any() else y


@repair(
    "pad-by-gather",
    ops="Pad",
    example="""
<ir_version: 10, opset_import: ["" : 19]>
pad (float[2, 5, 6] x) => (float[2, 9, 8] y) <int64[6] pads = {0, 2, 1, 0, 2, 1}> {
  y = Pad <mode = "wrap"> (x, pads)
}
""",
)
def pad_by_gather(node: ir.Node, build: Builder) -> Replacement:
    """Each element of the result is one of the input's, or the constant: which one follows from the padding."""
    x, mode = node.inputs[0], attribute(node, "mode", "constant")
    calc = Arithmetic(build)
    pads: Operand | None = argument(node, 1)
    if pads is None:
        pads = np.asarray(attribute(node, "pads", []), np.int64)
    old, new = shape(x), shape(node.outputs[0])
    if old is None or new is None or x is None:
        raise NotApplicable("the sizes of input and output are not known")
    if isinstance(pads, ir.Value) and calc.known(pads) is None:
        _suppose(build, node, pads, old, new)
    y, inside = x, None
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        start = _beginning(calc, node, pads, axis, len(old))
        known = calc.known(start)
        if known is not None and not known.any() and before == after:
            continue
        if before is None or after is None or not before:
            raise NotApplicable(f"the size of axis {axis} is not known")
        wanted = calc.op("Sub", np.arange(after), start)
        clipped = calc.op("Min", calc.op("Max", wanted, 0), before - 1)
        match mode:
            case "constant":
                sizes = [1] * len(old)
                sizes[axis] = after
                here = calc.op("Reshape", calc.op("Equal", wanted, clipped), sizes)
                inside = here if inside is None else calc.op("And", inside, here)
                taken = clipped
            case "edge":
                taken = clipped
            case "wrap":
                taken = calc.op("Mod", wanted, before)
            case "reflect":
                period = max(2 * (before - 1), 1)
                turned = calc.op("Mod", wanted, period)
                taken = (
                    calc.op("Min", turned, calc.op("Sub", period, turned)) if before > 1 else calc.op("Mod", wanted, 1)
                )
            case _:
                raise NotApplicable(f"mode {mode} is unknown")
        y = build.op("Gather", y, taken, axis=axis)
    if inside is None:
        return y
    value = argument(node, 2)
    if value is None:
        value = build.op("CastLike", attribute(node, "value", 0.0), x)
    mask = calc.value(inside)
    if dtype(x) == ir.DataType.BOOL:
        # ONNX Runtime's Where takes no booleans.
        return build.op("Or", build.op("And", mask, y), build.op("And", build.op("Not", mask), value))
    return build.op("Where", mask, y, value)


def _beginning(calc: Arithmetic, node: ir.Node, pads: Operand, axis: int, count: int) -> Operand:
    """How much is added at the beginning of an axis, int64[1]."""
    axes = _axes(node)
    if axes is not None:
        return calc.op("Gather", pads, [axes.index(axis)]) if axis in axes else np.zeros(1, np.int64)
    given = argument(node, 3)
    sizes = static_shape(given)
    if sizes is None:
        raise NotApplicable("how many axes are padded is not known")
    here = calc.op("Equal", calc.op("Mod", calc.op("Cast", given, to=7), count), axis)
    amounts = calc.op("Slice", pads, [0], [sizes[0]])
    return calc.op("ReduceSum", calc.op("Where", here, amounts, 0), keepdims=1)


def _suppose(build: Builder, node: ir.Node, pads: ir.Value, old: list[int | None], new: list[int | None]) -> None:
    """Give the proof paddings that fit the declared sizes: all at the end, all at the beginning."""
    axes, given = _axes(node), argument(node, 3)
    grown = {axis: (new[axis] or 0) - (old[axis] or 0) for axis in range(len(old))}
    if axes is None:
        sizes = static_shape(given)
        if sizes is None or given is None:
            raise NotApplicable("how many axes are padded is not known")
        axes = sorted(grown, key=lambda axis: grown[axis] == 0)[: sizes[0]]
        kind = dtype(given)
        build.assume(given, np.asarray(axes, kind.numpy() if kind else np.int64))
    added = [grown[axis] for axis in axes]
    none = [0] * len(added)
    build.assume(pads, np.asarray([*none, *added]), np.asarray([*added, *none]))


def _axes(node: ir.Node) -> list[int] | None:
    """The axes that `pads` speaks of; None where they are not known."""
    sizes = shape(node.inputs[0])
    if sizes is None:
        return None
    given = argument(node, 3)
    if given is None:
        return list(range(len(sizes)))
    known = constant(given)
    return None if known is None else [int(axis) % len(sizes) for axis in known]


@repair(
    "center-crop-pad",
    ops="CenterCropPad",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
crop (float[20, 8, 3] x) => (float[10, 9, 3] y) <int64[2] size = {10, 9}> {
  y = CenterCropPad <axes = [0, 1]> (x, size)
}
""",
)
def center_crop_pad(node: ir.Node, build: Builder) -> Replacement:
    """What is cut off is a Slice, what is added a Pad; an odd one goes to the end."""
    x = node.inputs[0]
    old, new = shape(x), shape(node.outputs[0])
    if old is None or new is None:
        raise NotApplicable("the sizes of input and output are not known")
    axes = [axis % len(old) for axis in attribute(node, "axes") or range(len(old))]
    before, after = [old[axis] for axis in axes], [new[axis] for axis in axes]
    given = constant(node.inputs[1])
    if given is not None:
        after = [int(size) for size in given]
    if None in before or None in after:
        raise NotApplicable("the sizes of input and output are not known")
    if given is None and node.inputs[1] is not None:
        build.assume(node.inputs[1], np.asarray(after))
    pairs = [(int(a or 0), int(b or 0)) for a, b in zip(before, after, strict=True)]
    cut = [(axis, (a - b) // 2, b) for axis, (a, b) in zip(axes, pairs, strict=True) if a > b]
    y = x
    if cut:
        parts = ([start for _, start, _ in cut], [start + size for _, start, size in cut], [axis for axis, _, _ in cut])
        y = build.op("Slice", y, *(np.asarray(part, np.int64) for part in parts))
    pads = np.zeros((2, len(old)), np.int64)
    for axis, (a, b) in zip(axes, pairs, strict=True):
        added = max(b - a, 0)
        pads[:, axis] = added // 2, added - added // 2
    if pads.any():
        y = build.op("Pad", y, pads.reshape(-1), build.op("CastLike", 0.0, x))
    if y is None:
        raise NotApplicable("its input is left out")
    return y
