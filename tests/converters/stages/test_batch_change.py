"""A batch that a graph states, or has baked in, is changed on request; the items stay what they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stages import compare, import_onnx, load_samples

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import load_results

FLOAT = TensorProto.FLOAT
node = helper.make_node
RANDOM = np.random.default_rng(0)


def write(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    x: list[Any],
    y: list[Any],
    constants: dict[str, Any],
    opset: int = 17,
) -> Path:
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    inputs = [helper.make_tensor_value_info("x", FLOAT, x)]
    outputs = [helper.make_tensor_value_info("y", FLOAT, y)]
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(content, full_check=True)
    onnx.save(content, folder / "m.onnx")
    return folder / "m.onnx"


def weights(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def reshaped(folder: Path, batch: Any, stated: int = 1) -> Path:
    """[b, 6, 8] to [b, 8, 6], the batch as a number in the reshape."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Reshape", ["h", "shape"], ["y"], name="flat")]
    return write(folder, nodes, [batch, 6, 8], [batch, 8, 6], {"w": weights(8, 8), "shape": [stated, 8, 6]})


def attention(folder: Path, batch: int) -> Path:
    """torch.nn.MultiheadAttention as the TorchScript exporter writes it: time first, heads and batch in one axis."""
    time, heads, width = 5, 2, 4
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("MatMul", ["t", "w"], ["q"]),
        node("Reshape", ["q", "split"], ["s"]),
        node("Transpose", ["s"], ["h"], perm=[1, 0, 2]),
        node("Transpose", ["h"], ["k"], perm=[0, 2, 1]),
        node("MatMul", ["h", "k"], ["scores"]),
        node("Softmax", ["scores"], ["p"], axis=-1),
        node("MatMul", ["p", "h"], ["o"]),
        node("Transpose", ["o"], ["back"], perm=[1, 0, 2]),
        node("Reshape", ["back", "rows"], ["r"]),
        node("MatMul", ["r", "w"], ["out"]),
        node("Reshape", ["out", "join"], ["j"]),
        node("Transpose", ["j"], ["y"], perm=[1, 0, 2]),
    ]
    full = heads * width
    constants = {
        "w": weights(full, full),
        "split": [time, batch * heads, width],
        "rows": [time * batch, full],
        "join": [time, batch, full],
    }
    return write(folder, nodes, [batch, time, full], [batch, time, full], constants)


def token(folder: Path, batch: int) -> Path:
    """A class token in front, and positions."""
    nodes = [node("Concat", ["class", "x"], ["c"], axis=1), node("Add", ["c", "positions"], ["y"])]
    first = weights(1, 1, 4).repeat(batch, 0)
    return write(folder, nodes, [batch, 3, 4], [batch, 4, 4], {"class": first, "positions": weights(1, 4, 4)})


def recurrent(folder: Path, batch: int) -> Path:
    """An LSTM whose first state is a constant."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "w", "r", "", "", "state", "state"], ["all"], hidden_size=3),
        node("Squeeze", ["all", "one"], ["s"]),
        node("Transpose", ["s"], ["y"], perm=[1, 0, 2]),
    ]
    constants = {
        "w": weights(1, 12, 4),
        "r": weights(1, 12, 3),
        "state": np.zeros((1, batch, 3), np.float32),
        "one": [1],
    }
    return write(folder, nodes, [batch, 5, 4], [batch, 5, 3], constants)


def enlarged(folder: Path, batch: int) -> Path:
    """To a size that is a constant, batch and all."""
    nodes = [node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest")]
    return write(folder, nodes, [batch, 2, 3, 3], [batch, 2, 6, 6], {"sizes": [batch, 2, 6, 6]})


def pooled(folder: Path, batch: int) -> Path:
    """Flattened with the features as -1: the batch can't be -1 too, and isn't where it was."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("ReduceMean", ["t"], ["m"], axes=[0], keepdims=0),
        node("Reshape", ["m", "flat"], ["y"]),
    ]
    return write(folder, nodes, [batch, 3, 4], [batch, 2, 2], {"flat": [batch, -1, 2]})


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("make", [attention, token, recurrent, enlarged, pooled])
def test_a_stated_batch_is_changed(make: Any, batch: int, tmp_path: Path) -> None:
    path = make(tmp_path, batch)
    before = onnx.load(path)
    rest = "x".join(str(dim.dim_value) for dim in before.graph.input[0].type.tensor_type.shape.dim[1:])
    facts = import_onnx(tmp_path / "out", path, f"x:1..4..9x{rest}")
    assert not isinstance(facts.inputs[0].shape[0], int)
    assert any(f"batch of {batch} was set free" in warning for warning in facts.warnings)
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass"
    assert {sample.shapes["x"][0] for sample in comparison.samples} >= {1, 4, 9}
    samples, feeds = load_samples(tmp_path / "out")
    results = load_results(tmp_path / "out")[0][1]
    assert all(result["y"].shape[0] == feed["x"].shape[0] for result, feed in zip(results, feeds, strict=True))
    assert samples.specs[0].dims[0].bounds == (1, 4, 9)


@pytest.mark.parametrize("shape", ["x:4x6x8", "x:1..4..8x6x8"])
@pytest.mark.parametrize("batch", ["batch", 1])
def test_a_baked_batch_is_set_free(batch: Any, shape: str, tmp_path: Path) -> None:
    facts = import_onnx(tmp_path / "out", reshaped(tmp_path, batch), shape)
    assert any("(Reshape flat: its shape has -1 in the place of 1): 4" in warning for warning in facts.warnings)
    assert facts.inputs[0].shape[0] == (4 if shape == "x:4x6x8" else "batch")
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_what_mixes_the_items_is_refused(tmp_path: Path) -> None:
    """A sum over the batch is another one for more items."""
    nodes = [node("ReduceSum", ["x", "axis"], ["s"], keepdims=1), node("Add", ["x", "s"], ["y"])]
    path = write(tmp_path, nodes, [2, 3], [2, 3], {"axis": [0]})
    fixed = (
        r"doesn't fit the model's 2x3: the graph takes a batch of 2 alone, and can't be set free: several items at once"
    )
    with pytest.raises(UserError, match=fixed):
        import_onnx(tmp_path / "out", path, "x:1..4..8x3")
