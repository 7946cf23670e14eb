"""onnx's reference evaluator: slow, written from the specification, and another one's work than ONNX Runtime.

Runs in a process of its own, with limits: it has loops in Python, and no fear of memory.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.compat.evaluator import evaluator
from enginesmith.converters.core.samples import Array, SampleSet

if TYPE_CHECKING:
    import onnx

EVALUATE = f"from {__name__} import evaluate; evaluate(*__import__('sys').argv[1:])"
READY = "ready"
"""An empty file beside the results: the samples are there."""
POLL = 0.02
"""Seconds between looks for it."""
LOCATE = f"from {__name__} import locate; locate(*__import__('sys').argv[1:])"
WRONG_OPERATORS = {
    "LpNormalization": "of order 1 it sums the values, and not their magnitudes",
    "LogSoftmax": "it takes the logarithm of a softmax, which is 0 for what lies far below the largest",
    "SoftmaxCrossEntropyLoss": "as LogSoftmax",
}
"""Operators that the evaluator has wrong, and how; ONNX Runtime is right there. Found with onnx's node tests."""


def evaluate(model: str, samples: str, out: str) -> None:
    """For each sample of a folder, the smallest first: the outputs as the graph computes them, in `out/<index>.npz`, and in
    float64, in `out/<index>.exact.npz`; in the order of the graph's outputs, as arr_0, arr_1, and so on. It is started before
    there are samples, and waits for the file `out/READY`.
    """
    import onnx

    warnings.simplefilter("ignore")  # numpy's, of infinities and NaN that samples mean
    graph = onnx.load(model)
    double = in_double(graph)
    plain, wide = evaluator(graph), evaluator(double)
    while not (Path(out) / READY).exists():
        time.sleep(POLL)
    feeds = SampleSet.load(Path(samples))[1]
    for index in sorted(range(len(feeds)), key=lambda index: sum(array.size for array in feeds[index].values())):
        feed = feeds[index]
        for kind, runs, given in (("", plain, feed), (".exact", wide, widened(feed))):
            try:
                _save(Path(out) / f"{index}{kind}.npz", runs.run(None, dict(given)))
            except Exception as error:  # noqa: BLE001 - an operator that it lacks, or an input that it refuses
                print(f"sample {index}{kind}: {type(error).__name__}: {error}", file=sys.stderr)
                if not kind:
                    break


def _save(path: Path, outputs: Iterable[Any]) -> None:
    import numpy as np

    arrays = [np.asarray(output) for output in outputs]
    if any(array.dtype.hasobject for array in arrays):
        raise TypeError("strings")
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, *arrays)
    unfinished.rename(path)


def widened(feed: Mapping[str, Array]) -> dict[str, Array]:
    import numpy as np

    return {name: array.astype(np.float64) if _is_float(array) else array for name, array in feed.items()}


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f" or array.dtype.name.startswith(("float", "bfloat"))


def in_double(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose floating-point numbers are all float64. For the evaluator, which doesn't ask what types an operator takes."""
    import onnx

    double = onnx.ModelProto()
    double.CopyFrom(model)
    for value in (*double.graph.input, *double.graph.output):
        if value.type.tensor_type.elem_type in _floats():
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    _widen(double.graph)
    for function in double.functions:
        for node in function.node:
            _widen_node(node)
    return double


def _floats() -> frozenset[int]:
    from onnx import TensorProto

    return frozenset((TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16))


def _widen(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        _widen_node(node)


def _widen_node(node: onnx.NodeProto) -> None:
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.name in ("to", "dtype", "stash_type", "output_datatype") and attribute.i in _floats():
            attribute.i = TensorProto.DOUBLE
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        for graph in (attribute.g, *attribute.graphs):
            _widen(graph)
    if node.op_type == "Constant" and node.attribute[0].name in ("value_float", "value_floats"):
        _constant(node)


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    from onnx import numpy_helper

    if tensor.data_type in _floats():
        wide = numpy_helper.to_array(tensor).astype("float64")
        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))


def _constant(node: onnx.NodeProto) -> None:
    import numpy as np
    from onnx import helper, numpy_helper

    value = helper.get_attribute_value(node.attribute[0])
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.array(value, np.float64))))


def read_outputs(folder: Path, index: int, names: Sequence[str], kind: str = "") -> dict[str, Array]:
    """What `evaluate` has left of a sample; nothing where it didn't come to it."""
    import numpy as np

    path = folder / f"{index}{kind}.npz"
    if not path.exists():
        return {}
    with np.load(path) as arrays:
        return {name: arrays[f"arr_{number}"] for number, name in enumerate(names)}


def disagreeing_nodes(model: onnx.ModelProto, values: Mapping[str, Array]) -> Iterator[tuple[str, str]]:
    """Name and operator of each node of the main graph to which the evaluator gives other outputs than there are, on the very
    inputs that there are. `values` has all tensors of the graph by name, those of the inputs too.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    from enginesmith.converters.graphs.rounding import judge
    from enginesmith.converters.graphs.tolerances import TOLERANCES

    known = {**{each.name: numpy_helper.to_array(each) for each in model.graph.initializer}, **values}
    for node in model.graph.node:
        outputs = [name for name in node.output if name in values]
        feed = {name: known[name] for name in _taken(node) if name in known}
        graph = helper.make_graph(
            [node],
            "node",
            [helper.make_empty_tensor_value_info(name) for name in feed],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
        )
        alone = helper.make_model(
            graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
        )
        try:
            results = evaluator(alone).run(outputs, feed)
        except Exception as error:  # noqa: BLE001 - it says nothing of this one
            print(f"{node.op_type} {node.name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        for name, result in zip(outputs, results, strict=True):
            found = np.asarray(result)
            if found.shape != values[name].shape or not judge(found, values[name], TOLERANCES["fp32"]).passed:
                yield node.name or name, node.op_type
                break


def _taken(node: onnx.NodeProto) -> list[str]:
    """What a node takes, its subgraphs too."""
    from enginesmith.compat.walk import proto_nodes

    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names += [name for inner in proto_nodes(graph) for name in inner.input if name]
            names += [output.name for output in graph.output]
    return list(dict.fromkeys(names))


def locate(model: str, samples: str, index: str) -> None:
    """Print the nodes on which the evaluator and ONNX Runtime disagree, on one sample: a JSON list of their names and operators."""
    import numpy as np
    import onnx
    import onnxruntime

    from enginesmith.converters.graphs.onnxruntime import session

    warnings.simplefilter("ignore")
    graph = onnx.load(model)
    feed = SampleSet.load(Path(samples))[1][int(index)]
    given = {output.name for output in graph.graph.output}
    inner = [name for node in graph.graph.node for name in node.output if name and name not in given]
    exposed = onnx.ModelProto()
    exposed.CopyFrom(graph)
    exposed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inner)
    onnxruntime.set_default_logger_severity(4)
    run = session(exposed.SerializeToString(), optimize=False)
    names = [output.name for output in run.get_outputs()]
    values = dict(zip(names, run.run(None, dict(feed)), strict=True))
    tensors = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    print(json.dumps(list(disagreeing_nodes(graph, {**feed, **tensors}))))
