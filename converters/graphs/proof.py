"""Proof of a repair: the graph before and the graph after, run on the same inputs, edge values among them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper

from enginesmith.compat import saving
from enginesmith.compat.evaluator import evaluator
from enginesmith.compat.findings import Proof
from enginesmith.compat.graphs import weight_bytes
from enginesmith.compat.interface import fed, fetched
from enginesmith.compat.interface import outputs as told
from enginesmith.converters.graphs.faithful import faithful
from enginesmith.converters.graphs.tolerances import Apart, nearer

Array = NDArray[Any]
Feed = dict[str, Any]
"""Inputs by name: arrays, and lists of arrays for sequences."""
Run = Callable[[Feed], list[Any]]

EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e-6, -1e-6, 3.0, -3.0, 1e4, -1e4, 1e-30, 88.0, -88.0)
"""Values at which an operator often changes its mind: signs, ties of rounding, ends of exp in float32."""
ORDINARY = 3
"""Sets of random inputs, beside the one of edge values and those of small integers."""
MARGIN = 16
"""A result that one rounding step of the inputs changes by a sixteenth of a difference does not show that difference."""
QUANTIZED_STEP = 2.0**-16
"""Of the largest magnitude of a value in 16 bits."""
LEVELS = 127
"""Of int8, on either side."""
SECONDS = 5.0
"""A graph that runs for long is proved on as many inputs as fit into this time, and on one at least."""
DIMENSIONS = (4, 3, 5, 2, 6)
"""Sizes given to dimensions that are not known, one per name."""
ELEMENTS = 3
"""Length of a generated sequence."""


def prove(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    tolerance: float,
    given: Sequence[Feed] = (),
    seconds: float = SECONDS,
) -> Proof:
    """Run both models on those inputs `given`, and on generated ones, for about `seconds`.

    Inputs that the model before does not take (an index out of range, say) prove nothing and are passed over. The
    outputs must have equal shapes, and differ by at most `tolerance` times the largest magnitude of the output.
    """
    return compared(before, after, tolerance, (*given, *feeds(before)), seconds)


def compared(
    before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float, inputs: Iterable[Feed], seconds: float = SECONDS
) -> Proof:
    """As `prove`, on these inputs alone."""
    try:
        old = runner(before)
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises means that it can't run the model
        return Proof(agrees=False, reason=f"the graph before can't be run: {_line(error)}", ran=False)
    try:
        new = runner(after, reference=False)
    except Exception as error:  # noqa: BLE001
        return Proof(agrees=False, reason=f"ONNX Runtime refuses the repaired graph: {_line(error)}")
    single = len(before.graph.node) == 1
    inputs = list(inputs) if single else inputs
    proof = _run_both(before, after, (old, new), tolerance, inputs, seconds)
    if single and not proof.ran:
        # ONNX Runtime has kernels that refuse what ONNX allows, whatever the inputs are.
        proof = _run_both(before, after, (_reference(before), new), tolerance, inputs, seconds)
    return proof


def _run_both(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    runs: tuple[Run, Run],
    tolerance: float,
    inputs: Iterable[Feed],
    seconds: float,
) -> Proof:
    old, new = runs
    single = len(before.graph.node) == 1
    samples, worst, refusal = 0, 0.0, ""
    end = time.monotonic() + seconds
    for feed in inputs:
        if samples and time.monotonic() > end:
            break
        try:
            expected = _as_repaired(before, after, old(dict(feed)))
        except Exception as error:  # noqa: BLE001
            refusal = _line(error)
            continue
        found: list[Any] = []
        try:
            found = new(dict(feed))
            apart, reason = difference(expected, found, tolerance)
        except Exception as error:  # noqa: BLE001
            apart, reason = 0.0, f"the repaired graph fails: {_line(error)}"
        if reason and not _as_declared(before, expected):
            # A repair may rely on the declared shapes: inputs that break them prove nothing.
            refusal = "the results have other shapes than declared"
            continue
        if reason and 0 < apart <= MARGIN * _sensitivity(old, feed, expected, tolerance):
            refusal = "the results change as much when the inputs change by one rounding step"
            continue
        if reason and single and not _finite(feed) and _also_right(before, after, feed, expected, found, tolerance):
            refusal = "ONNX Runtime and ONNX's reference make different things of NaN or infinity"
            continue
        samples += 1
        worst = max(worst, apart)
        if reason:
            return Proof(agrees=False, error=worst, samples=samples, reason=reason)
    if not samples:
        return Proof(agrees=False, reason=f"no generated input suits the graph before: {refusal}", ran=False)
    return Proof(agrees=True, error=worst, samples=samples)


def _finite(feed: Feed) -> bool:
    floats = [array for array in feed.values() if isinstance(array, np.ndarray) and array.dtype.kind == "f"]
    return all(np.isfinite(array).all() for array in floats)


def _also_right(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    feed: Feed,
    expected: Sequence[Any],
    found: Sequence[Any],
    tolerance: float,
) -> bool:
    """Has the repaired graph what ONNX's reference has, in each element where ONNX Runtime has something else?"""
    try:
        other = _as_repaired(before, after, _reference(before)(dict(feed)))
        either = [nearer(*each) for each in zip(expected, other, found, strict=True)]
        return not difference(either, found, tolerance)[1]
    except Exception:  # noqa: BLE001 - it can't be run, or gives no tensors
        return False


def _as_repaired(before: onnx.ModelProto, after: onnx.ModelProto, outputs: Sequence[Any]) -> list[Any]:
    """Outputs of the model before, in the view in which those of the model after are compared with them."""
    return list(fetched(after, dict(zip(told(before), outputs, strict=True))).values())


def _as_declared(model: onnx.ModelProto, outputs: Sequence[Any]) -> bool:
    """Have the outputs the shapes that the model declares, where it declares any?"""
    declared = {value.name: value.type.tensor_type for value in model.graph.output}
    for name, output in zip(told(model), outputs, strict=True):
        kind = declared[name]
        if kind.HasField("shape") and isinstance(output, np.ndarray):
            sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
            if len(sizes) != output.ndim:
                return False
            if any(size not in (None, real) for size, real in zip(sizes, output.shape, strict=True)):
                return False
    return True


def _sensitivity(run: Run, feed: Mapping[str, Array], expected: Sequence[Any], tolerance: float) -> float:
    """How much the results of the model before differ when every float input moves to a neighbouring number.

    0 where the repair claims to be exact. A softmax over products of 1e8, say, is nothing but rounding.
    """
    if not tolerance:
        return 0.0
    rng = np.random.default_rng(1)
    worst = 0.0
    for _ in range(MARGIN):
        moved = {}
        for name, array in feed.items():
            near = np.asarray(array)
            if near.dtype in (np.float16, np.float32, np.float64):
                near = np.nextafter(near, rng.choice(np.array([-np.inf, np.inf], near.dtype), near.shape))
            moved[name] = near
        try:
            worst = max(worst, difference(expected, run(moved), tolerance)[0])
        except Exception:  # noqa: BLE001 - the model doesn't take them
            continue
    return worst


def runner(model: onnx.ModelProto, *, reference: bool = True) -> Run:
    """Runs a model in ONNX Runtime without optimizations; where it lacks an operator, in onnx's reference if allowed.

    Inputs and outputs whose dtype a repair changed have their original dtype here.
    """
    try:
        loaded = session(model)
    except Exception:
        if not reference:
            raise
        return _reference(model)
    taken = {value.name for value in loaded.get_inputs()}
    names = [value.name for value in loaded.get_outputs()]

    def run(feed: Feed) -> list[Any]:
        results = loaded.run(names, {name: value for name, value in fed(model, feed).items() if name in taken})
        return list(fetched(model, dict(zip(names, results, strict=True))).values())

    return run


def _reference(model: onnx.ModelProto) -> Run:
    from enginesmith.converters.graphs.packed_reference import MultiHeadAttention
    from enginesmith.converters.graphs.plugin_reference import OPERATORS

    runs = evaluator(model, [*OPERATORS, MultiHeadAttention])
    return lambda feed: list(runs.run(told(model), feed))


def session(model: onnx.ModelProto) -> Any:
    """An ONNX Runtime session of the graph as it is written, on one thread, in which no product saturates. Raises what ONNX
    Runtime does."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    whole = ir.from_proto(model)
    if faithful(whole):
        model = ir.to_proto(whole)
    if weight_bytes(whole) <= saving.LARGE:
        return ort.InferenceSession(model.SerializeToString(), options, providers=providers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        saving.save(whole, path)
        return ort.InferenceSession(str(path), options, providers=providers)


def feeds(model: onnx.ModelProto) -> Iterator[Feed]:
    """Generated inputs: random ones, edge values, small whole numbers (which suit indices), all ones and zeros."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    sizes = _Sizes()
    rng = np.random.default_rng(0)
    kinds: list[str] = ["random"] * ORDINARY + ["edges", "ones", "zeros", "indices", "indices"]
    if not inputs:
        kinds = ["random"]
    for kind in kinds:
        yield {value.name: _generated(kind, value.type, sizes, rng) for value in inputs}


def _generated(kind: str, type: onnx.TypeProto, sizes: _Sizes, rng: np.random.Generator) -> Any:
    """A tensor, or a list of them for a sequence; an optional is never empty."""
    match type.WhichOneof("value"):
        case "sequence_type":
            return [_generated(kind, type.sequence_type.elem_type, sizes, rng) for _ in range(ELEMENTS)]
        case "optional_type":
            return _generated(kind, type.optional_type.elem_type, sizes, rng)
    return _array(kind, type.tensor_type.elem_type, sizes.of(type), rng)


class _Sizes:
    """Concrete sizes for a model's inputs; a symbolic dimension has one size wherever it occurs."""

    def __init__(self) -> None:
        self._named: dict[str, int] = {}

    def of(self, type: onnx.TypeProto) -> tuple[int, ...]:
        return tuple(self._size(dim) for dim in type.tensor_type.shape.dim)

    def _size(self, dim: onnx.TensorShapeProto.Dimension) -> int:
        if dim.HasField("dim_value"):
            return int(dim.dim_value)
        if not dim.dim_param:
            return DIMENSIONS[0]
        return self._named.setdefault(dim.dim_param, DIMENSIONS[len(self._named) % len(DIMENSIONS)])


def _array(kind: str, elem_type: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    dtype = helper.tensor_dtype_to_np_dtype(elem_type)
    if elem_type == onnx.TensorProto.STRING:
        return rng.choice(np.array(["", "a", "bc", "B c"], dtype=object), shape)
    if kind in ("ones", "zeros"):
        return np.full(shape, 1 if kind == "ones" else 0).astype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    floating = np.issubdtype(dtype, np.floating) or dtype.name in ("bfloat16",) or dtype.name.startswith("float")
    if kind == "indices":
        return np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    if floating:
        values = rng.standard_normal(shape)
        if kind == "edges":
            # float16 ends at 65504: a product of larger values would only show how an operator overflows.
            edges = [edge for edge in EDGES if dtype != np.float16 or abs(edge) < 100]
            values = rng.choice(np.array(edges), shape)
        return np.asarray(values).astype(dtype)
    if np.issubdtype(dtype, np.complexfloating):
        return np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        low, high = (info.min, info.max) if kind == "edges" and info.bits <= 16 else (max(info.min, -9), 9)
        return rng.integers(low, high, shape, endpoint=True).astype(dtype)
    return np.asarray(rng.integers(0, 2, shape)).astype(dtype)


def difference(expected: Sequence[Any], found: Sequence[Any], tolerance: float) -> tuple[float, str]:
    """The largest difference relative to each output's largest magnitude, and what is wrong, empty if nothing is."""
    worst = 0.0
    for index, (old, new) in enumerate(zip(expected, found, strict=True)):
        if isinstance(old, list) or old is None:
            if not isinstance(old, type(new)) or (old is not None and len(old) != len(new)):
                return worst, f"output {index} is another kind of value"
            error, reason = difference(old or [], new or [], tolerance)
        else:
            error, reason = _tensors_differ(np.asarray(old), np.asarray(new), tolerance)
        worst = max(worst, error)
        if reason:
            return worst, f"output {index}: {reason}"
    return worst, ""


def _tensors_differ(old: Array, new: Array, tolerance: float) -> tuple[float, str]:
    if old.shape != new.shape:
        return 0.0, f"shape {list(new.shape)} instead of {list(old.shape)}"
    if old.dtype != new.dtype:
        return 0.0, f"{new.dtype} instead of {old.dtype}"
    apart = Apart.of(old, new)
    if old.dtype.kind in "OUSTb":
        return 0.0, "other values" if apart.each.any() else ""
    largest = float(apart.each.max(initial=0.0))
    if largest == float("inf"):
        return largest, "infinite or NaN where it was not"
    # the levels of 8 bits are as far apart where all numbers are small
    error = largest / (LEVELS if old.dtype in (np.int8, np.uint8) else apart.scale or 1.0)
    return error, "" if error <= _allowed(tolerance, old.dtype) else f"differs by {error:.3g} of its largest magnitude"


def _allowed(tolerance: float, dtype: np.dtype[Any]) -> float:
    """A tolerance is meant for float32: a half-precision result may be a few of its rounding steps off, if any. One that is
    smaller than any step of a quantized value is for the rounding of sums: integers are exact then.
    """
    if dtype.kind in "iu" and tolerance < QUANTIZED_STEP:
        return 0.0
    steps = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
    return max(tolerance, 4 * steps.get(dtype.name, 0.0)) if tolerance else 0.0


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
