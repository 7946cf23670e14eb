"""Operators that have a kernel of their own: what each reads, and how its kernel is made once the layouts are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from enginesmith.converters.tvm_kernels import choose
from enginesmith.converters.tvm_kernels.convolution import DirectConvolution
from enginesmith.converters.tvm_kernels.depthwise import DepthwiseConvolution
from enginesmith.converters.tvm_kernels.emit import Simd
from enginesmith.converters.tvm_kernels.expression import Expression
from enginesmith.converters.tvm_kernels.graph import Graph, Node, NotCovered, planes_of, shape_of
from enginesmith.converters.tvm_kernels.layout import NO_HALO, Blocked, Halo, Planes, Window
from enginesmith.converters.tvm_kernels.normalization import LayerNorm, Softmax
from enginesmith.converters.tvm_kernels.pointwise import Concat, Upsample
from enginesmith.converters.tvm_kernels.pooling import Kind, PlaneMean, Pool
from enginesmith.converters.tvm_kernels.products import FEWEST_COLUMNS, Product
from enginesmith.converters.tvm_kernels.winograd import WinogradConvolution


class Kernel(Protocol):
    """A kernel with all its sizes."""

    def kernel(self, name: str) -> Any:
        """The PrimFunc: parameters are the sources, the packed weights if any, operands of the expression, the result."""


@runtime_checkable
class WeightedKernel(Kernel, Protocol):
    """A kernel that takes weights, after its sources."""

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """ONNX's weights in the order in which the kernel reads them."""


@dataclass(frozen=True)
class Settings:
    """What the pass may choose from."""

    simd: Simd
    winograd: bool = True


@dataclass
class Anchor:
    """An operator with a kernel.

    `shape` is the result's as planes (N, C, H, W), None where the result lies in rows as ONNX has it. `sources` are the
    activations that it reads, with the block of their layout (0: in rows) and how far it reads beyond their planes.
    `make` takes the layouts of the sources, that of the result and the expression.
    """

    label: str
    shape: Planes | None
    sources: list[tuple[Any, int, Halo]]
    make: Callable[[list[Any], Any, Expression], Kernel]
    weights: NDArray[np.float32] | None = None
    flops: int = 0


def anchor(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    """The anchor that a node is; None for an operator of another kind. `blocked` tells what lies in blocked planes already.

    Raises NotCovered with the reason where the operator has kernels, but none for these attributes.
    """
    match = ANCHORS.get(node.short_op) if node.op.startswith("relax.") else None
    return match(graph, node, settings, blocked) if match else None


def _convolution(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    attrs, simd = node.attrs, settings.simd
    source, weights, shape = node.inputs[0], graph.constant(node.inputs[1]), planes_of(node.var)
    given = planes_of(source)
    if shape is None or given is None or (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "OIHW"):
        raise NotCovered("not float32 of a fixed shape")
    if weights is None:
        raise NotCovered("weights that are computed at run time")
    groups = int(attrs.groups)
    window = _window((weights.shape[2], weights.shape[3]), attrs)
    outputs, inputs = weights.shape[:2]
    flops = 2 * weights.size * shape[0] * shape[2] * shape[3]
    reach = window.reach(given[2:], shape[2:])
    if groups == outputs == given[1] and groups > 1:
        sources = [(source, simd.lanes, reach)]
        return Anchor("depthwise", shape, sources, lambda s, t, e: DepthwiseConvolution(simd, window, s[0], t, e),
                      weights, flops)  # fmt: skip
    if not DirectConvolution.fits(groups, outputs):
        raise NotCovered(f"groups of {outputs // groups} outputs")
    block = 1 if given[1] < simd.lanes // 2 and not blocked(source) else simd.lanes
    size = 0
    if WinogradConvolution.fits(simd, window, groups, Blocked(*given, block)):
        size = choose.winograd_size(inputs, outputs, shape[2:], settings.winograd)
    if size:
        reach = WinogradConvolution.reach(size, window, given[2:], shape[2:])
        sources = [(source, block, reach)]
        return Anchor(f"winograd{size}", shape, sources,
                      lambda s, t, e: WinogradConvolution(simd, size, window, s[0], t, e), weights, flops)  # fmt: skip
    sources = [(source, block, reach)]
    return Anchor("convolution", shape, sources, lambda s, t, e: DirectConvolution(simd, window, groups, s[0], t, e),
                  weights, flops)  # fmt: skip


def _pool(kind: str) -> Callable[..., Anchor]:
    def match(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
        attrs, source, shape = node.attrs, node.inputs[0], planes_of(node.var)
        given = planes_of(source)
        if shape is None or given is None or attrs.layout != "NCHW":
            raise NotCovered("not float32 of a fixed shape")
        window = _window(tuple(int(size) for size in attrs.pool_size), attrs)
        exact: Kind = "max" if kind == "max" else "mean_with_pads" if attrs.count_include_pad else "mean"
        if refusal := Pool.refusal(exact, window, given[2:], shape[2:]):
            raise NotCovered(refusal)
        reach = NO_HALO if kind == "max" else window.reach(given[2:], shape[2:])
        sources = [(source, settings.simd.lanes, reach)]
        return Anchor(f"{kind} pool", shape, sources, lambda s, t, e: Pool(settings.simd, exact, window, s[0], t, e))

    return match


def _mean(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    source = node.inputs[0]
    given = planes_of(source)
    if given is None or shape_of(node.var) is None:
        return None
    if node.short_op == "adaptive_avg_pool2d":
        if any(int(size) != 1 for size in node.attrs.output_size):
            return None
    elif node.attrs.axis is None or sorted(int(axis) % 4 for axis in node.attrs.axis) != [2, 3]:
        return None
    sources = [(source, settings.simd.lanes, NO_HALO)]
    return Anchor("mean", (given[0], given[1], 1, 1), sources, lambda s, t, e: PlaneMean(settings.simd, s[0], t, e))


def _resize(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    attrs, source, shape = node.attrs, node.inputs[0], planes_of(node.var)
    given = planes_of(source)
    if shape is None or given is None or attrs.layout != "NCHW":
        raise NotCovered("not float32 of a fixed shape")
    nearest = (attrs.method, attrs.coordinate_transformation_mode, attrs.rounding_method)
    if nearest != ("nearest_neighbor", "asymmetric", "floor") or shape[2] % given[2] or shape[3] % given[3]:
        raise NotCovered("not to the nearest pixel, at a whole multiple of the size")
    sources = [(source, settings.simd.lanes, NO_HALO)]
    return Anchor("upsample", shape, sources, lambda s, t, e: Upsample(settings.simd, s[0], t, e))


def _concat(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    shape, lanes = planes_of(node.var), settings.simd.lanes
    parts = [planes_of(tensor) for tensor in node.inputs]
    if shape is None or int(node.attrs.axis) % 4 != 1 or 2 * sum(map(blocked, node.inputs)) < len(parts):
        return None
    if None in parts or not Concat.fits([part[1] for part in parts if part], lanes):
        raise NotCovered(f"parts whose channels are no multiples of {lanes}")
    sources = [(tensor, lanes, NO_HALO) for tensor in node.inputs]
    return Anchor("concat", shape, sources, lambda s, t, e: Concat(settings.simd, s, t, e))


def _product(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    left, right = node.inputs
    shape, first, second = shape_of(node.var), shape_of(left), shape_of(right)
    if shape is None or first is None or second is None:
        raise NotCovered("not float32 of a fixed shape")
    columns, weights = second[-1], graph.constant(right)
    if len(second) < 2 or len(first) < 2 or columns < FEWEST_COLUMNS:
        raise NotCovered(f"a vector, or fewer than {FEWEST_COLUMNS} columns")
    flops = 2 * first[-1] * shape_size(shape)
    packed = weights is not None and weights.ndim == 2
    sources = [(left, 0, NO_HALO)] if packed else [(left, 0, NO_HALO), (right, 0, NO_HALO)]
    return Anchor("product" if packed else "batched product", None, sources,
                  lambda s, t, e: Product(settings.simd, first, second, shape, packed, e),
                  weights if packed else None, flops)  # fmt: skip


def _softmax(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    source, shape = node.inputs[0], shape_of(node.var)
    if shape is None:
        raise NotCovered("not float32 of a fixed shape")
    if int(node.attrs.axis) % len(shape) != len(shape) - 1 or shape[-1] < settings.simd.lanes:
        raise NotCovered("not along the last axis, or along a short one")
    return Anchor("softmax", None, [(source, 0, NO_HALO)], lambda s, t, e: Softmax(settings.simd, shape, e))


def _layer_norm(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    attrs, shape = node.attrs, shape_of(node.var)
    source, *parameters = node.inputs
    if shape is None or None in map(shape_of, parameters):
        raise NotCovered("not float32 of a fixed shape")
    axes = [int(axis) % len(shape) for axis in attrs.axes]
    if axes != [len(shape) - 1] or shape[-1] < settings.simd.lanes or not (attrs.center and attrs.scale):
        raise NotCovered("not along the last axis alone, or along a short one")
    sources = [(tensor, 0, NO_HALO) for tensor in (source, *parameters)]
    epsilon = float(attrs.epsilon)
    return Anchor("layer norm", None, sources, lambda s, t, e: LayerNorm(settings.simd, shape, epsilon, e))


def shape_size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _window(kernel: tuple[int, ...], attrs: Any) -> Window:
    strides, dilations = (tuple(int(size) for size in sizes) for sizes in (attrs.strides, attrs.dilation))
    pads = tuple(int(size) for size in attrs.padding)
    return Window(kernel, strides, dilations, pads if len(pads) == 4 else pads * 2)  # type: ignore[arg-type]


ANCHORS: dict[str, Callable[[Graph, Node, Settings, Callable[[Any], bool]], Anchor | None]] = {
    "conv2d": _convolution,
    "max_pool2d": _pool("max"),
    "avg_pool2d": _pool("mean"),
    "adaptive_avg_pool2d": _mean,
    "mean": _mean,
    "concat": _concat,
    "resize2d": _resize,
    "matmul": _product,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
}
