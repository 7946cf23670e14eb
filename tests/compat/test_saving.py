"""A written model needs no file but its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from enginesmith.compat import saving
from enginesmith.converters.graphs.proof import prove


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A model whose weight and constant lie in a file of their own."""
    text = """
    <ir_version: 10, opset_import: ["" : 18]>
    net (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { c = Constant <value = float[2] {3, 4}> () s = Mul (x, w)  y = Add (s, c) }
    """
    model = ir.from_onnx_text(text)
    folder = tmp_path / "given"
    folder.mkdir()
    ir.save(model, folder / "model.onnx", external_data="weights", size_threshold_bytes=0)
    model = ir.load(folder / "model.onnx")
    node = next(iter(model.graph))
    (folder / "constant").write_bytes(np.array([3, 4], np.float32).tobytes())
    where = ir.ExternalTensor("constant", 0, 8, ir.DataType.FLOAT, name="c", shape=ir.Shape([2]), base_dir=folder)
    node.attributes["value"] = ir.AttrTensor("value", where)
    ir.save(model, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize(("limit", "files"), [(1000, ["model.onnx"]), (0, ["model.onnx", "model.onnx.data"])])
def test_what_lay_beside_a_model_comes_along(
    beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, files: list[str]
) -> None:
    monkeypatch.setattr(saving, "LARGE", limit)
    out = tmp_path / "written"
    out.mkdir()
    assert [path.name for path in saving.save(ir.load(beside), out / "model.onnx")] == files
    assert sorted(path.name for path in out.iterdir()) == files
    for path in beside.parent.iterdir():
        path.unlink()
    model = ir.load(out / "model.onnx")
    assert model.graph.initializers["w"].const_value.numpy().tolist() == [1, 2]
    assert next(iter(model.graph)).attributes["value"].as_tensor().numpy().tolist() == [3, 4]


def test_a_model_that_no_message_holds_is_proved_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "LARGE", 0)
    text = '<ir_version: 10, opset_import: ["" : 18]> g (float[99] x) => (float[99] y) <float[1] w = {2}> { y = Mul (x, w) }'
    model = ir.to_proto(ir.from_onnx_text(text))
    assert prove(model, model, 0.0).agrees
