"""torchvision's own Faster R-CNN graph, some 2,000 nodes with 160 MB of weights, down to the node that TensorRT-RTX
refuses first."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from stages import export

from enginesmith.converters.bisect.conditions import parse_condition
from enginesmith.converters.bisect.search import reduce_file


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_stock_faster_rcnn(tmp_path: Path) -> None:
    export(
        tmp_path / "export", "fasterrcnn_resnet50_fpn", kind="torchvision", shape="1x3x320x320", stock=True, samples=1
    )
    (tmp_path / "candidates").mkdir()
    out = tmp_path / "reduced.onnx"
    condition = parse_condition("build on tensorrt-rtx")
    found = reduce_file(tmp_path / "export" / "model.onnx", condition, out, tmp_path / "candidates")
    assert found.nodes_before > 1500
    assert found.ops == {"NonZero": 1}
    assert found.tests < 60
    assert (found.finished, found.confirmed, found.runs) == (True, True, True)
    assert found.size < 2000
    onnx.checker.check_model(str(out), full_check=True)
