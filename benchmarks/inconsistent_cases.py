"""Forty engines that contradict themselves: runners that wrap a sound one, TVM modules whose IR was changed, graphs.

What each does is what real engines were seen to do: buffers that are not cleared, tails of a batch that are not computed,
reductions without atomics, statistics over the batch, caches with too short a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from threading import Thread
from time import sleep
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BATCH = 4
Outputs = dict[str, Any]
Infer = Callable[[Mapping[str, Any]], Outputs]


def network(batch: int | str = BATCH) -> onnx.ModelProto:
    """Convolution, ReLU, pooling, a product, Softmax."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        scale = np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return numpy_helper.from_array((rng.standard_normal(shape) / scale).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "h"], ["l"], transB=1),
        helper.make_node("Softmax", ["l"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])],
        [weights("w", 8, 3, 3, 3), weights("b", 8), weights("g", 10, 512), weights("h", 10)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


# --- wrapped runners: each takes a sound one, and returns one with a fault


def keeps_a_mean(sound: Infer) -> Infer:
    """State: a running mean of what was asked is added."""
    kept = [np.float32(0)]

    def infer(feed: Mapping[str, Any]) -> Outputs:
        kept[0] = np.float32(0.9 * kept[0] + 0.1 * feed["x"].mean())
        return {"y": sound(feed)["y"] + 0.1 * kept[0]}

    return infer


def first_call_differs(sound: Infer) -> Infer:
    """State: what the first call finds has not been set up yet."""
    calls = count()
    return lambda feed: {"y": sound(feed)["y"] * np.float32(0.98 if next(calls) == 0 else 1)}


def every_ninth_call(sound: Infer) -> Infer:
    """State: a ring of buffers with a bad one."""
    calls = count(1)
    return lambda feed: {"y": sound(feed)["y"] * np.float32(1.05 if next(calls) % 9 == 0 else 1)}


def last_answer(sound: Infer) -> Infer:
    """State: the answer of the call before, as where an event isn't waited for."""
    kept: list[Outputs] = []

    def infer(feed: Mapping[str, Any]) -> Outputs:
        kept.append(sound(feed))
        return kept[-2] if len(kept) > 1 else kept[-1]

    return infer


def stale_input(sound: Infer) -> Infer:
    """State: the last rows of pixels are those of the call before, as where a copy is too short."""
    kept: dict[tuple[int, ...], Any] = {}

    def infer(feed: Mapping[str, Any]) -> Outputs:
        x = feed["x"].copy()
        before = kept.get(x.shape, np.zeros_like(x))
        kept[x.shape] = feed["x"].copy()
        x[..., -2:, :] = before[..., -2:, :]
        return sound({"x": x})

    return infer


def stale_output(sound: Infer) -> Infer:
    """State: a part of the output is never written over."""
    kept: list[Any] = []

    def infer(feed: Mapping[str, Any]) -> Outputs:
        y = sound(feed)["y"].copy()
        if kept and kept[0].shape == y.shape:
            y[-1, -2:] = kept[0][-1, -2:]
        kept[:] = [sound(feed)["y"]]
        return {"y": y}

    return infer


def cache_with_a_short_key(sound: Infer) -> Infer:
    """State: answers are kept by the sum of the whole input, rounded, as a cache of activations might."""
    kept: dict[Any, Outputs] = {}

    def infer(feed: Mapping[str, Any]) -> Outputs:
        key = (feed["x"].shape, round(float(np.abs(feed["x"]).mean()), 3))
        if key not in kept:
            kept[key] = sound(feed)
        return kept[key]

    return infer


def grows(sound: Infer) -> Infer:
    """State: an accumulator that is never cleared."""
    total = [np.float32(0)]

    def infer(feed: Mapping[str, Any]) -> Outputs:
        y = sound(feed)["y"]
        total[0] += np.float32(1e-4)
        return {"y": y + total[0]}

    return infer


def sorted_rows(sound: Infer) -> Infer:
    """Order: rows are sorted by their size, to fill kernels well, and not put back."""

    def infer(feed: Mapping[str, Any]) -> Outputs:
        order = np.argsort(np.abs(feed["x"]).sum((1, 2, 3)), kind="stable")
        return sound({"x": feed["x"][order]})

    return infer


def tail_not_computed(sound: Infer) -> Infer:
    """Order: the last row of a batch is that before it."""

    def infer(feed: Mapping[str, Any]) -> Outputs:
        y = sound(feed)["y"].copy()
        y[-1] = y[max(len(y) - 2, 0)]
        return {"y": y}

    return infer


def scaled_by_the_batch(sound: Infer) -> Infer:
    """Leak: one scale for the whole batch, as a per-tensor quantization of activations has."""

    def infer(feed: Mapping[str, Any]) -> Outputs:
        step = np.abs(feed["x"]).max() / 15
        return sound({"x": (np.round(feed["x"] / step) * step).astype(np.float32)})

    return infer


def padding_counts(sound: Infer) -> Infer:
    """Leak: rows that only fill the batch up take part in a normalization."""
    return lambda feed: {"y": (lambda y: y / y.sum(0, keepdims=True).mean())(sound(feed)["y"])}


def large_batches_differ(sound: Infer) -> Infer:
    """Batch sizes: a kernel for large batches alone leaves out the bias."""
    return lambda feed: {"y": sound(feed)["y"] + np.float32(1e-2 if len(feed["x"]) >= 3 else 0)}


def threads_share_a_sum(sound: Infer) -> Infer:
    """Race: threads add to one sum without a lock."""

    def infer(feed: Mapping[str, Any]) -> Outputs:
        y, total = sound(feed)["y"], [0.0]

        def add(part: Any) -> None:
            for value in part:
                before = total[0]
                sleep(0)  # another thread's turn
                total[0] = before + float(value)

        values = np.repeat(y.ravel(), 10)
        threads = [Thread(target=add, args=(part,)) for part in np.array_split(values, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"y": y * np.float32(1 + total[0] / values.size)}

    return infer


def now_and_then(sound: Infer) -> Infer:
    """Race: once in six calls a vector of the output is torn."""
    rng = np.random.default_rng(3)

    def infer(feed: Mapping[str, Any]) -> Outputs:
        y = sound(feed)["y"].copy()
        if rng.random() < 1 / 6:
            y[0, :4] = 0
        return {"y": y}

    return infer


RUNNERS: dict[str, Callable[[Infer], Infer]] = {
    made.__name__: made
    for made in (
        keeps_a_mean,
        first_call_differs,
        every_ninth_call,
        last_answer,
        stale_input,
        stale_output,
        cache_with_a_short_key,
        grows,
        sorted_rows,
        tail_not_computed,
        scaled_by_the_batch,
        padding_counts,
        large_batches_differ,
        threads_share_a_sum,
        now_and_then,
    )
}

# --- TVM modules: a kernel's TensorIR is changed in its text


class Edit(NamedTuple):
    """In the kernel whose name begins with `kernel`, `old` becomes `new`, and `written` is among what the block writes."""

    kernel: str
    old: str
    new: str
    written: tuple[str, str] = ("\0", "")


_INIT = """            with T.init():
                {0} = {1}
"""
_POOLED = "pool[v_image, v_channel, v_i0, v_i1]"
_GRID = "for {} in T.grid({}):\n"
_MATMUL = "for i0, i1, k in T.grid(T.int64(4), T.int64(10), T.int64(512)):\n"
_CONV = (
    "for nn, ff, yy, xx, rc, ry, rx in T.grid(T.int64(4), T.int64(8), T.int64(16), T.int64(16), "
    "T.int64(3), T.int64(3), T.int64(3)):\n"
)
_POOL = (
    "for image, channel, i0, i1, k0, k1 in T.grid(T.int64(4), T.int64(8), T.int64(8), T.int64(8), "
    "T.int64(2), T.int64(2)):\n"
)
_ADDED = "T_add_intermediate[v_ax0, v_ax1] = matmul_intermediate[v_ax0, v_ax1] + param_1[v_ax1]"
_STEP = "step_intermediate[v_i0, v_i1, v_i2, v_i3] = "
_SUM = "T_softmax_exp[v_i0, v_i1] / T_softmax_expsum[v_i0]"

MODULES: dict[str, Edit] = {
    # state
    "maximum_not_cleared": Edit("max_pool2d", _INIT.format(_POOLED, 'T.float32("-inf")'), ""),
    "bias_written": Edit(
        "fused_matmul",
        _ADDED,
        f"{_ADDED}\n            param_1[v_ax1] = param_1[v_ax1] * T.float32(0.99)",
        ("T.writes(T_add_intermediate[v_ax0, v_ax1]", "T.writes(T_add_intermediate[v_ax0, v_ax1], param_1[v_ax1]"),
    ),
    "weights_written": Edit(
        "fused_matmul",
        "layer_4[v_i0, v_k] * param_0[v_k, v_i1]",
        "layer_4[v_i0, v_k] * param_0[v_k, v_i1]\n"
        "            param_0[v_k, v_i1] = param_0[v_k, v_i1] + T.float32(0.001) * layer_4[v_i0, v_k]",
        ("T.writes(matmul_intermediate[v_i0, v_i1]", "T.writes(matmul_intermediate[v_i0, v_i1], param_0[v_k, v_i1]"),
    ),
    "sum_not_cleared": Edit(
        "softmax",
        "T_softmax_expsum[v_i0] = T.float32(0.0)",
        "T_softmax_expsum[v_i0] = T_softmax_norm[v_i0, T.int64(0)]",
    ),
    "output_added_to": Edit(
        "fused_conv2d", _STEP, f"{_STEP}T.float32(0.1) * step_intermediate[v_i0, v_i1, v_i2, v_i3] + "
    ),
    # leaks
    "first_row_read": Edit(
        "fused_matmul",
        "+ layer_4[v_i0, v_k]",
        "+ layer_4[T.if_then_else(v_k % T.int64(16) == T.int64(0), T.int64(0), v_i0), v_k]",
    ),
    "one_sum_for_all": Edit("softmax", _SUM, "T_softmax_exp[v_i0, v_i1] / T_softmax_expsum[T.int64(0)]"),
    "window_over_the_edge": Edit(
        "max_pool2d",
        "= T.Select(layer_2[v_image,",
        "= T.Select(layer_2[T.if_then_else(v_i0 == T.int64(7), (v_image + T.int64(1)) % T.int64(4), v_image),",
    ),
    "row_torn": Edit(
        "reshape",
        "T_reshape[v_ax0, v_ax1] = layer_3[(v_ax1 // T.int64(512) + v_ax0) % T.int64(4)",
        "T_reshape[v_ax0, v_ax1] = layer_3[(v_ax1 // T.int64(448) + v_ax0) % T.int64(4)",
    ),
    "padded_with_a_neighbour": Edit(
        "fused_conv2d",
        "T.float32(0.0))\n",
        "x[(v_i0 + T.int64(1)) % T.int64(4), v_i1, T.int64(0), T.int64(0)])\n",
    ),
    # order
    "bias_by_row": Edit(
        "fused_matmul",
        "+ param_1[v_ax1]",
        '+ param_1[v_ax1] * (T.float32(1.0) + T.float32(0.05) * T.Cast("float32", v_ax0))',
    ),
    "tail_of_another": Edit("softmax", f"= {_SUM}", f"= {_SUM.replace('v_i0, v_i1', 'T.min(v_i0, T.int64(2)), v_i1')}"),
    # races
    "sum_in_parallel": Edit(
        "fused_matmul",
        _MATMUL + "        with",
        "for k in T.parallel(T.int64(512)):\n      for i0, i1 in T.grid(T.int64(4), T.int64(10)):\n        with",
    ),
    "channels_in_parallel": Edit(
        "fused_conv2d",
        _CONV + "        with",
        "for rc in T.parallel(T.int64(3)):\n      for nn, ff, yy, xx, ry, rx in T.grid(T.int64(4), T.int64(8), T.int64(16), "
        "T.int64(16), T.int64(3), T.int64(3)):\n        with",
    ),
    "window_in_parallel": Edit(
        "max_pool2d",
        _POOL + "        with",
        "for k0 in T.parallel(T.int64(2)):\n      for image, channel, i0, i1, k1 in T.grid(T.int64(4), T.int64(8), "
        "T.int64(8), T.int64(8), T.int64(2)):\n        with",
    ),
}

# --- graphs: what runs isn't the graph that was asked for


def _behind(value: str, *nodes: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """The network with nodes between what makes `value` and what takes it; they take `in` and give `out`."""
    model = network()
    graph = model.graph
    place = next(i for i, node in enumerate(graph.node) if value in node.output)
    for node in graph.node[place + 1 :]:
        for index, name in enumerate(node.input):
            node.input[index] = "out" if name == value else name
    if value == "y":
        graph.node[place].output[0] = value = "before"
        graph.output[0].name = "y"
    for made in nodes:
        for names in (made.input, made.output):
            for index, name in enumerate(names):
                names[index] = {"in": value, "out": "y" if value == "before" else "out"}.get(name, name)
    rest = list(graph.node[place + 1 :])
    del graph.node[place + 1 :]
    graph.node.extend([*nodes, *rest])
    graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items())
    return model


def _node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def _added(value: str, *nodes: onnx.NodeProto, share: float = 0.01, **constants: Any) -> onnx.ModelProto:
    """`more`, which the nodes make, is added to a share."""
    both = (_node("Mul", "more share", "part"), _node("Add", "in part", "out"))
    return _behind(value, *nodes, *both, share=np.float32(share), **constants)


def graphs() -> dict[str, onnx.ModelProto]:
    """By the name of the fault."""
    zero, axis = np.array([0]), np.array(0)
    turned = np.array([1, 2, 3, 0])
    rows = np.arange(BATCH, dtype=np.float32)[:, None]
    return {
        "mean_of_the_batch": _added("l", _node("ReduceMean", "in axes", "more"), axes=zero, share=0.1),
        "maximum_of_the_batch": _behind(
            "r",
            _node("ReduceMax", "in axes", "most"),
            _node("Div", "in some", "scaled"),
            _node("Min", "scaled most", "out"),
            axes=np.array([0, 1, 2, 3]),
            some=np.float32(0.2),
        ),
        "softmax_over_rows": _behind("l", _node("Softmax", "in", "out", axis=0)),
        "running_sum_of_rows": _added("l", _node("CumSum", "in axis", "more"), axis=axis, share=0.05),
        "neighbour_row": _added("p", _node("Gather", "in turned", "more", axis=0), turned=turned, share=0.05),
        "rows_turned": _behind("y", _node("Gather", "in turned", "out", axis=0), turned=turned),
        "row_counts": _behind("l", _node("Add", "in rows", "out"), rows=0.1 * rows * np.arange(10, dtype=np.float32)),
        "batch_statistics": _behind(
            "c",
            _node("ReduceMean", "in axes", "mean"),
            _node("Sub", "in mean", "centred"),
            _node("Add", "centred half", "out"),
            axes=np.array([0, 2, 3]),
            half=np.float32(0.5),
        ),
        "noise": _added("l", _node("RandomNormalLike", "in", "more")),
        "dropout_left_on": _behind(
            "f",
            _node("Bernoulli", "share", "mask"),
            _node("Mul", "in mask", "out"),
            share=np.full((BATCH, 512), 0.98, np.float32),
        ),
    }


COUNT = len(RUNNERS) + len(MODULES) + 10
