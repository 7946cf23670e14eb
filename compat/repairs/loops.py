"""Loop and Scan written out, one copy of the body for each iteration, and If as a choice between two results.

Source: the operators' definitions on ONNX's pages for Loop, Scan and If.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.reference import evaluate
from enginesmith.compat.repairs.folding import CHANCE
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TENSORRT
from enginesmith.compat.values import Array, argument, attribute, constant, dtype, shape, static_shape, used

MAX_NODES = 20_000
"""Nodes that a written-out loop may have."""

MAX_ENDLESS = 512
"""Iterations after which a loop without a trip count is taken for one that its condition doesn't end."""
SMALL = 500
"""Nodes that a loop is written out into where it could also be kept."""


@repair(
    "loop-condition",
    ops="Loop",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
halved (int64 n, float[2] x) => (float[2] y) {
  y = Loop (n, , x) <body = b (int64 i, bool p, float[2] v) => (bool q, float[2] w) { q = Identity (p)  w = Add (v, v) }>
}
""",
)
def loop_condition(node: ir.Node, build: Builder) -> Replacement:
    """An empty condition of a Loop becomes the constant true that it means."""
    body: ir.Graph = attribute(node, "body")
    if argument(node, 1) is not None:
        raise NotApplicable("it has a condition")
    trips = constant(argument(node, 0))
    if trips is not None and int(trips.reshape(())) * len(body) <= SMALL:
        raise NotApplicable("it is small enough to be written out")
    kept = body.clone(allow_outer_scope_values=True)
    given = [node.inputs[0], True, *node.inputs[2:]]
    return build.ops("Loop", *given, outputs=len(node.outputs), body=kept)


@repair(
    "loop-unrolled",
    ops="Loop",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
doubled (float[2] x) => (float[2] y, float[3, 2] every) <int64 trips = {3}, bool yes = {1}> {
  y, every = Loop (trips, yes, x) <body = once (int64 i, bool before, float[2] a) => (bool go, float[2] b, float[2] c) {
    go = Identity (before)
    b = Add (a, a)
    c = Identity (b)
  }>
}
""",
)
def loop(node: ir.Node, build: Builder) -> Replacement:
    """A Loop with a known number of iterations is written out.

    The number is the trip count, if there is one, unless the condition, which must then be computed from constants, ends it
    earlier; or it is the number of rows that a scan output declares. A Loop of at most so many iterations whose condition is only
    known at run time runs them all, and keeps the state where the condition had become false.
    """
    if any(not isinstance(value.type, ir.TensorType) for value in node.inputs[2:] if value is not None):
        raise NotApplicable("it carries a sequence")
    return unrolled(node, build)


def unrolled(node: ir.Node, build: Builder) -> list[ir.Value | None]:
    """The outputs of a Loop, every iteration written out. Raises NotApplicable."""
    body: ir.Graph = attribute(node, "body")
    state = list(node.inputs[2:])
    if any(value is None for value in state):
        raise NotApplicable("a state has no initial value")
    trips, declared = _trips(node, len(state), build)
    if trips * max(len(body), 1) > MAX_NODES:
        raise NotApplicable(f"{trips} iterations of {len(body)} nodes are too many to write out")
    known: dict[ir.Value, Array | None] = {}
    go = argument(node, 1)
    decided = declared or go is None or constant(go) is not None
    guarded = not decided or (not declared and not _decided(node, build))
    if guarded:
        _check_guarded(node, len(state))
    rows: list[list[ir.Value]] = []
    running = go
    for index in range(trips):
        if not declared and not guarded and running is not None:
            verdict = _content(running, build.opset, known)
            if verdict is None:
                raise NotApplicable("its condition is only known at run time")
            if not bool(verdict.reshape(())):
                break
        inputs = [build.constant(np.array(index)), running if running is not None else build.constant(True), *state]
        following, *outputs = inlined(build, body, inputs)
        state_after: list[ir.Value | None] = [*outputs[: len(state)]]
        row = outputs[len(state) :]
        if guarded and running is not None:
            running, following = _scalar(build, running), _scalar(build, following)
            state_after = [build.op("Where", running, new, old) for new, old in zip(state_after, state, strict=True)]
            following = build.op("And", running, following)
        state, running = state_after, following
        rows.append(row)
    else:
        if not declared and argument(node, 0) is None:
            raise NotApplicable(f"its condition doesn't end it within {trips} iterations")
    scans = [
        _stacked(build, node, len(state) + place, [row[place] for row in rows], 0) for place in range(_scans(node))
    ]
    return [*state, *scans]


def _scans(node: ir.Node) -> int:
    body: ir.Graph = attribute(node, "body")
    return len(body.outputs) - 1 - len(node.inputs[2:])


def _trips(node: ir.Node, states: int, build: Builder) -> tuple[int, bool]:
    """How often the body runs at most, and whether it is exactly so often because an output declares it."""
    limit, go = argument(node, 0), argument(node, 1)
    known = constant(limit)
    for index in range(states, len(node.outputs)):
        sizes = shape(node.outputs[index])
        if sizes and sizes[0]:
            if known is None and limit is not None:
                build.assume(limit, np.array(sizes[0], np.int64).reshape(static_shape(limit) or ()))
            if go is not None and constant(go) is None:
                build.assume(go, np.array(True).reshape(static_shape(go) or ()))
            return sizes[0], True
    if limit is None and (constant(go) is None or not _decided(node, build)):
        raise NotApplicable("it has no trip count, and its condition is only known at run time")
    if limit is None:
        return min(MAX_ENDLESS, MAX_NODES // max(len(attribute(node, "body")), 1)), False
    if known is None:
        raise NotApplicable("its trip count is only known at run time")
    return max(int(known.reshape(())), 0), False


def _decided(node: ir.Node, build: Builder) -> bool:
    """Is the body's condition the one before, or computed without anything that is only known at run time?"""
    body: ir.Graph = attribute(node, "body")
    pending, seen = [body.outputs[0]], set[ir.Value]()
    states = dict(zip(body.inputs[2:], zip(node.inputs[2:], body.outputs[1:], strict=False), strict=False))
    while pending:
        value = pending.pop()
        if value in seen or value in body.inputs[:2] or constant(value) is not None:
            continue
        seen.add(value)
        if value in states:
            first, after = states[value]
            if constant(first) is None:
                return False
            pending.append(after)
            continue
        producer = value.producer()
        if producer is None or producer.op_type in CHANCE or producer.graph is not body:
            return False
        pending += [inner for inner in producer.inputs if inner is not None]
    return True


def _check_guarded(node: ir.Node, states: int) -> None:
    """Raises NotApplicable unless every iteration may run and be thrown away."""
    body: ir.Graph = attribute(node, "body")
    if any(used(node, index) for index in range(states, len(node.outputs))):
        raise NotApplicable("how many rows it collects is only known at run time")
    for before, after in zip(node.inputs[2:], body.outputs[1:], strict=False):
        if static_shape(before) is None or static_shape(before) != static_shape(after):
            raise NotApplicable("its condition is only known at run time, and a state's shape may change")
    _check_pure(body)


def _check_pure(graph: ir.Graph) -> None:
    if any(inner.op_type in CHANCE for inner in graph.all_nodes()):
        raise NotApplicable("it draws random numbers")


def _content(value: ir.Value | None, opset: int, known: dict[ir.Value, Array | None]) -> Array | None:
    """What a value computed from constants holds; None where it isn't."""
    array = constant(value)
    if array is not None or value is None:
        return array
    if value not in known:
        known[value] = _computed(value, opset, known)
    return known[value]


def _computed(value: ir.Value, opset: int, known: dict[ir.Value, Array | None]) -> Array | None:
    node = value.producer()
    if node is None or node.op_type in CHANCE:
        return None
    arguments = [_content(inner, opset, known) for inner in node.inputs]
    if any(array is None and inner is not None for array, inner in zip(arguments, node.inputs, strict=True)):
        return None
    # A new node has no names for its values yet, which the evaluation needs.
    inputs = [None if inner is None else ir.Value(name=f"in{place}") for place, inner in enumerate(node.inputs)]
    named = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), num_outputs=len(node.outputs))
    for place, output in enumerate(named.outputs):
        output.name = f"out{place}"
    computed = evaluate(named, arguments, opset)
    return None if computed is None else computed[value.index() or 0]


def inlined(build: Builder, body: ir.Graph, arguments: Sequence[ir.Value | None]) -> list[ir.Value]:
    """Add a copy of a body's nodes, its inputs replaced by `arguments`; returns what stands for its outputs."""
    copy = body.clone(allow_outer_scope_values=True)
    for value, given in zip(copy.inputs, arguments, strict=True):
        if given is not None:
            value.replace_all_uses_with(given, replace_graph_outputs=True)
    for value in copy.initializers.values():
        if value.const_value is not None:
            # a tensor has a name: given another one, it would lose its place in the body
            value.replace_all_uses_with(build.constant(value.const_value.numpy()), replace_graph_outputs=True)
    outputs, nodes = list(copy.outputs), list(copy)
    copy.outputs.clear()
    copy.remove(nodes)
    build.nodes += nodes
    return outputs


def _stacked(build: Builder, node: ir.Node, output: int, parts: list[ir.Value], axis: int) -> ir.Value | None:
    """The rows of a scan output as one tensor."""
    if output >= len(node.outputs) or not used(node, output):
        return None
    if parts:
        flat = [build.op("Unsqueeze", part, np.array([axis])) for part in parts]
        return build.op("Concat", *flat, axis=axis)
    sizes, kind = shape(node.outputs[output]), dtype(node.outputs[output])
    if sizes is None or kind is None or any(size is None for size in sizes[1:]):
        raise NotApplicable("it runs no iteration, and the shape of what it collects is unknown")
    return build.constant(np.zeros([0, *(size or 0 for size in sizes[1:])], kind.numpy()))


@repair(
    "scan-unrolled",
    ops="Scan",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[2] start, float[3, 2] x) => (float[2] y, float[3, 2] every) {
  y, every = Scan <num_scan_inputs = 1, body = once (float[2] a, float[2] b) => (float[2] c, float[2] d) {
    c = Add (a, b)
    d = Identity (c)
  }> (start, x)
}
""",
)
def scan(node: ir.Node, build: Builder) -> Replacement:
    """A Scan over a static length is written out, one copy of the body for each element."""
    if build.opset < 9:
        raise NotApplicable(f"the graph's opset is {build.opset}")
    body: ir.Graph = attribute(node, "body")
    count = attribute(node, "num_scan_inputs")
    states = len(node.inputs) - count
    scanned = node.inputs[states:]
    outputs = len(body.outputs) - states
    axes = _per(node, "scan_input_axes", count)
    lengths = set()
    for value, axis in zip(scanned, axes, strict=True):
        sizes = shape(value)
        lengths.add(sizes[axis] if sizes is not None else None)
    length = next((size for size in lengths if size is not None), None)
    if length is None:
        raise NotApplicable("the length is only known at run time")
    if length * max(len(body), 1) > MAX_NODES:
        raise NotApplicable(f"{length} iterations of {len(body)} nodes are too many to write out")
    state = list(node.inputs[:states])
    rows: list[list[ir.Value]] = []
    backward = _per(node, "scan_input_directions", count)
    for step in range(length):
        elements = [
            build.op("Gather", value, np.array(length - 1 - step if back else step), axis=axis)
            for value, axis, back in zip(scanned, axes, backward, strict=True)
        ]
        results = inlined(build, body, [*state, *elements])
        state, row = list(results[:states]), results[states:]
        rows.append(row)
    scans = []
    out_axes, reverse = _per(node, "scan_output_axes", outputs), _per(node, "scan_output_directions", outputs)
    for place in range(outputs):
        parts = [row[place] for row in rows]
        stacked = _stacked(build, node, states + place, parts[::-1] if reverse[place] else parts, out_axes[place])
        scans.append(stacked)
    return [*state, *scans]


def _per(node: ir.Node, name: str, count: int) -> list[int]:
    """A list attribute with one number for each scan input or output, zeros where it is left out."""
    return list(attribute(node, name) or [0] * count)


@repair(
    "if-as-where",
    ops="If",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
choose (float[2] x, bool yes) => (float[2] y) {
  y = If (yes) <then_branch = then () => (float[2] a) { a = Neg (x) },
                else_branch = other () => (float[2] b) { b = Abs (x) }>
}
""",
)
def if_as_where(node: ir.Node, build: Builder) -> Replacement:
    """Both branches of an If are computed, and Where takes the results of one.

    It needs results of the same static shape, and takes the time of both branches.
    """
    branches: list[ir.Graph] = [attribute(node, "then_branch"), attribute(node, "else_branch")]
    for branch in branches:
        _check_pure(branch)
    for one, two in zip(branches[0].outputs, branches[1].outputs, strict=True):
        if isinstance(one.type, ir.SequenceType | ir.OptionalType):
            raise NotApplicable("it returns a sequence or an optional")
        if static_shape(one) is None or static_shape(one) != static_shape(two):
            raise NotApplicable("its branches return different shapes, or shapes only known at run time")
    then, other = (inlined(build, branch, []) for branch in branches)
    assert node.inputs[0] is not None
    condition = _scalar(build, node.inputs[0])
    return [build.op("Where", condition, yes, no) for yes, no in zip(then, other, strict=True)]


def _scalar(build: Builder, value: ir.Value) -> ir.Value:
    """A condition, which may be given as a tensor of one element."""
    return value if static_shape(value) == [] else build.op("Reshape", value, np.array([], np.int64))
