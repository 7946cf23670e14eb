"""ONNX to a Relax module, and that to machine code. Runs in a process without torch."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from enginesmith.compat.repairs.local import fixed
from enginesmith.converters.backends.base import Profile, Values
from enginesmith.converters.backends.scope import dims, fix_inputs
from enginesmith.converters.backends.tvm.frontend.arithmetic import widen_sums
from enginesmith.converters.backends.tvm.frontend.fold import fold_constants
from enginesmith.converters.backends.tvm.frontend.simplify import simplify
from enginesmith.converters.backends.tvm.signature import Held
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.records import TensorInfo


class ImportFailed(Exception):
    """The frontend refuses the graph; the text is its own reason, in one line."""


@dataclass(frozen=True)
class Imported:
    """A Relax module with the inputs and outputs of its `main`, in their order and by their names in ONNX."""

    module: Any
    inputs: list[TensorInfo]
    outputs: list[str]
    nodes: list[tuple[str, str]]
    """First output and operator of the ONNX nodes, by the numbers that traces have."""
    held: list[Held]
    """The other inputs of the graph, which became constants."""


def import_onnx(path: Path, profile: Profile, values: Values | None = None) -> Imported:
    """Load an ONNX file with its external data and convert it, dynamic dimensions at the profile's optimum, and inputs whose
    `values` decide on sizes as constants of their likeliest value: they are no inputs of the module.

    Raises UserError where a dimension stays dynamic or the profile doesn't fit, ImportFailed where the frontend fails.
    """
    model = onnx.load(str(path))
    held: list[Held] = []
    if values:
        held = [
            Held(**dict(_tensor(value)), values=list(values[value.name][1]))
            for value in model.graph.input
            if value.name in values
        ]
        model = fixed(model, {each.name: each.array() for each in held})
        profile = {name: shapes for name, shapes in profile.items() if name not in values}
    given = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    for name in profile:
        if name not in given:
            raise unknown("input in the shapes", name, sorted(given))
    if profile or values:
        fix_inputs(model, {name: optimum for name, (_, optimum, _) in profile.items()})
        model = _fold_shapes(model)
    inputs = [_tensor(value) for value in model.graph.input if value.name in given]
    outputs = [value.name for value in model.graph.output]
    nodes = [(next(filter(None, node.output), ""), node.op_type) for node in model.graph.node]
    return Imported(convert(model), inputs, outputs, nodes, held)


def convert(model: onnx.ModelProto) -> Any:
    """The frontend's Relax module for a model in memory. Raises ImportFailed with its reason."""
    from enginesmith.converters.backends.tvm.frontend.operators import from_onnx

    said = io.StringIO()
    try:
        # The frontend prints the operator that it fails at, and warns of every name that it changes.
        with _refusals(), contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return from_onnx(model)
    except ImportFailed as error:
        operator = next((line.split(",")[0] for line in said.getvalue().splitlines() if "Error converting" in line), "")
        raise ImportFailed(f"{operator}: {error}" if operator else str(error)) from error


def optimize(module: Any, target: Any) -> Any:
    """`prepare` and `lower`, all by TVM's own means."""
    return lower(prepare(module, target), target)


def prepare(module: Any, target: Any) -> Any:
    """Decompose, fold constants, fix the arithmetic and simplify: the graph as kernels are chosen for it."""
    import tvm
    from tvm import relax

    from enginesmith.converters.backends.tvm.kernels import traces

    canonicalize = relax.transform.CanonicalizeBindings()
    decompose = tvm.transform.Sequential([relax.transform.DecomposeOpsForInference(), canonicalize])
    with _refusals(), target, tvm.transform.PassContext(opt_level=3):
        decomposed = traces.through(module, decompose)
        folded = traces.through(decomposed, lambda found: canonicalize(fold_constants(widen_sums(found))))
        return traces.through(folded, lambda found: canonicalize(simplify(found)))


def lower(module: Any, target: Any) -> Any:
    """Fuse and lower to kernels: the part of the compilation whose result still shows the graph.

    Raises ImportFailed for an operator that can't be lowered.
    """
    return fuse(legalize(module, target), target)[1]


def legalize(module: Any, target: Any) -> Any:
    """Lower operators to kernels, one by one. Raises ImportFailed for an operator that can't be lowered."""
    import tvm
    from tvm.relax import transform

    from enginesmith.converters.backends.tvm.frontend import legalize as extremes
    from enginesmith.converters.backends.tvm.frontend import sums
    from enginesmith.converters.backends.tvm.kernels import traces

    with _refusals(), target, tvm.transform.PassContext(opt_level=3):
        legal = traces.through(module, transform.LegalizeOps(extremes.legalizations() | sums.legalizations()))
        return tvm.transform.Sequential([transform.AnnotateTIROpPattern(), transform.FoldConstant()])(legal)


def fuse(module: Any, target: Any) -> tuple[Any, Any]:
    """Group kernels after `legalize`, and make one of each group: the module with groups as functions, and the final one."""
    import tvm
    from tvm.relax import transform

    with _refusals(), target, tvm.transform.PassContext(opt_level=3):
        grouped = transform.FuseOps()(module)
        return grouped, transform.FuseTIR()(grouped)


def plan(module: Any, target: Any) -> Any:
    """The VM's program with its memory planned, all that a compilation does before it makes machine code.

    Raises ImportFailed for sizes that the program can't know before it runs.
    """
    import tvm
    from tvm import relax

    with _refusals(), target, tvm.transform.PassContext(opt_level=3):
        return relax.get_default_pipeline(target)(module)


def compile_module(module: Any, target: Any) -> Any:
    """Machine code and the VM's program. Raises ConversionError with TVM's last line."""
    import tvm

    from enginesmith.converters.backends.tvm.frontend import codegen

    try:
        with _refusals(), tvm.transform.PassContext(opt_level=3):
            return codegen.compile_module(module, target)
    except ImportFailed as error:
        raise ConversionError(f"tvm could not compile the graph: {error}") from error


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what TVM raises into ImportFailed with its last line: what its code stumbles over is how it refuses."""
    try:
        yield
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        NotImplementedError,
        RuntimeError,  # base of tvm.error.TVMError
        TypeError,
        ValueError,
    ) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ImportFailed(lines[-1] if lines else type(error).__name__) from error


def _fold_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute what now depends on static shapes only: the frontend can't follow sizes through a graph."""
    from onnxscript import optimizer

    folded: onnx.ModelProto = optimizer.optimize(onnx.shape_inference.infer_shapes(model, data_prop=True))
    return folded


def _tensor(value: onnx.ValueInfoProto) -> TensorInfo:
    if not value.type.HasField("tensor_type"):
        raise ImportFailed(f"input {value.name} is no tensor but a sequence or an optional, which TVM doesn't take")
    if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
        raise ImportFailed(f"input {value.name} holds strings, which TVM doesn't have")
    sizes = dims(value.type)
    if sizes is None or None in sizes:
        shape = "of unknown rank" if sizes is None else f"with dynamic dimensions {sizes}"
        raise UserError(f"input {value.name} is {shape}: give its shape, such as {value.name}:1x3x224x224")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return TensorInfo(name=value.name, dtype=str(dtype), shape=[size for size in sizes if size is not None])
