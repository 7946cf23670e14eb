"""Any small graph computes what ONNX Runtime does, whatever its operators are and however they follow each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, NotImplemented, RuntimeException
from random_operators import drawn

from enginesmith.compat.checks import silent
from enginesmith.compat.target import Target
from enginesmith.converters.core.isolated import Isolated

STEP = 1e-6
"""How far inputs are moved, relatively, to see how far results move by it: a choice may hang on a digit."""


def expected(model: onnx.ModelProto, feeds: list[Any]) -> list[list[Any]]:
    """Of the graph as it is written. Raises what ONNX Runtime raises where it has no kernel for a node's attributes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": x}) for x in feeds]


def test_random_graphs(with_tvm: Isolated, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
    @given(seed=st.integers(0, 1 << 20))
    def property_holds(seed: int) -> None:
        folder: Path = tmp_path_factory.mktemp("random")
        model, x = drawn(seed)
        rng = np.random.default_rng(seed)
        near = [(x * (1 + STEP * rng.uniform(-1, 1, x.shape))).astype(np.float32) for _ in range(2)]
        try:
            wanted, *moved = expected(model, [x, *near])
        except (Fail, InvalidArgument, NotImplemented, RuntimeException):
            assume(False)
        assume(not silent(ir.from_proto(model), Target("tvm", "0.27.0")))
        onnx.save(model, folder / "model.onnx")
        np.savez(folder / "feed.npz", x=x)
        with_tvm.call("compiled:run", str(folder), timeout=120)
        with np.load(folder / "found.npz") as found:
            results = [found[name] for name in found.files]
        for index, (one, other) in enumerate(zip(results, wanted, strict=True)):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            scale = float(np.abs(other).max()) + 1e-6
            noise = max(float(np.abs(other - result[index].astype(np.float64)).max()) for result in moved)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * scale + 20 * noise)

    property_holds()
