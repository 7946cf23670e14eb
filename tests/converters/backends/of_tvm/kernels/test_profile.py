"""A profile holds every layer and every kernel of ONNX Runtime once, and adds up; of times, only that they are some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import test_account

from enginesmith.converters.core.isolated import Isolated


@pytest.fixture(scope="module")
def found(with_tvm: Isolated, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("profiled")
    test_account.save(folder)
    return with_tvm.call("compiled:profiled", str(folder), timeout=120)


def test_every_layer_is_in_one_group(found: Any) -> None:
    numbers = [number for group in found["groups"] for number in group["layers"]]
    assert sorted(numbers) == list(range(len(found["layers"])))
    assert len(found["layers_ms"]) == len(found["layers"])


def test_sides_meet_at_the_nodes(found: Any) -> None:
    """What both fuse alike is a group of its own."""
    groups = {"".join(group["nodes"]): group for group in found["groups"]}
    assert "t" in groups
    assert [found["layers"][number]["kernel"] for number in groups["t"]["layers"]] == ["cumsum"]
    assert groups["t"]["kernels"] == ["CumSum"]
    assert groups["y"]["kernels"] == ["Softmax"]
    assert sorted("".join(groups)) == sorted("crndstpfqey")


def test_it_adds_up(found: Any) -> None:
    engine, reference = (sum(group[side] for group in found["groups"]) for side in ("engine_ms", "onnxruntime_ms"))
    assert engine == pytest.approx(sum(found["layers_ms"]))
    assert reference == pytest.approx(found["onnxruntime_kernels_ms"])
    assert reference > 0
    calls = [ms for ms, layer in zip(found["layers_ms"], found["layers"], strict=True) if layer["kernel"] != "reshape"]
    assert min(calls) > 0
    assert found["runs"] >= 3


def test_the_machine_is_measured_before_and_after(found: Any) -> None:
    for rates in (found["before"], found["after"]):
        assert min(rates.values()) > 0.1
        assert max(rates.values()) < 1e5


def test_nothing_is_left_beside_the_engine_but_what_was_asked_for(found: Any, tmp_path: Path) -> None:
    """An engine whose layers nobody has written down has no profile."""
    from enginesmith.converters.core.engine_layers import Layers

    assert Layers.beside(tmp_path / "module.so") is None


def test_of_several_shapes_the_first_has_a_profile(with_tvm: Isolated, tmp_path: Path) -> None:
    """Its kernels are those that are listed."""
    text = '<ir_version: 10, opset_import: ["" : 18]> main (float[N, 6] x) => (float[N, 6] y)'
    model = onnx.parser.parse_model(f"{text} {{ s = Softmax (x) t = CumSum (s, axis) y = Erf (t) }}")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, np.int64), "axis"))
    onnx.save(model, tmp_path / "model.onnx")
    assert with_tvm.call("compiled:profiled_shapes", str(tmp_path), timeout=120) == [0, None]
