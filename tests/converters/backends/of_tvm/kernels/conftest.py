"""One process with TVM for all tests of kernels, and a way to hold a model's outputs against ONNX Runtime's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from quantized_graphs import Array, Graph, Run

from enginesmith.converters.core.isolated import Isolated

HERE = Path(__file__).parent
Check = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def with_tvm() -> Iterator[Isolated]:
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    patch.setenv("TVM_NUM_THREADS", "2")
    with Isolated(without_torch=True) as process:
        yield process
    patch.undo()


@pytest.fixture(scope="session")
def agrees(with_tvm: Isolated, tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Check a graph's outputs on random inputs: `text` is ONNX's own, weights are given by name as arrays."""

    def check(
        text: str,
        weights: dict[str, Any] | None = None,
        tolerance: float = 1e-4,
        seed: int = 0,
        opset: int = 18,
        **how: Any,
    ) -> Any:
        """Returns what `compiled.run` does, which gets `how`. `tolerance` is relative to an output's largest number."""
        import onnxruntime

        rng = np.random.default_rng(seed)
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> main {text}')
        for name, array in (weights or {}).items():
            array = np.asarray(array)
            array = array if array.dtype == np.int64 else array.astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        folder = tmp_path_factory.mktemp("model")
        onnx.checker.check_model(model)
        onnx.save(model, folder / "model.onnx")
        feed = {}
        for tensor in model.graph.input:
            shape = [dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
            kind = helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)
            feed[tensor.name] = rng.standard_normal(shape).astype(kind)
        np.savez(folder / "feed.npz", **feed)
        told = with_tvm.call("compiled:run", str(folder), *how.values(), timeout=120)
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        with np.load(folder / "found.npz") as found:
            for expected, key in zip(session.run(None, feed), found.files, strict=True):
                assert found[key].shape == expected.shape
                assert np.isfinite(expected).all()
                np.testing.assert_allclose(
                    found[key], expected, rtol=0, atol=tolerance * (np.abs(expected).max() + 1e-6)
                )
        return told

    return check


@pytest.fixture(scope="session")
def run(with_tvm: Isolated, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Outputs of the module, those of ONNX Runtime, and what `compiled.run` tells."""

    def both(graph: Graph, results: list[str], x: Array, target: str = "x86-64-v3", dot: str = "") -> Any:
        import onnxruntime

        folder = tmp_path_factory.mktemp("quantized")
        graph.save(folder / "model.onnx", *results)
        np.savez(folder / "feed.npz", x=x)
        told = with_tvm.call("compiled:run", str(folder), target, True, None, dot, timeout=120)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        with np.load(folder / "found.npz") as found:
            return [found[name] for name in found.files], session.run(None, {"x": x}), told

    return both
