"""torchvision's own detector graphs: fixed shapes from the .onnx alone, and the same detections."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torchvision.models import detection

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.graphs import infer
from enginesmith.compat.interface import fetched
from enginesmith.compat.repairs import GRAPH_REPAIRS
from enginesmith.compat.target import Target
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import Isolated
from enginesmith.converters.data import pictures
from enginesmith.converters.graphs.matching import match_detections, pictures_of
from enginesmith.converters.graphs.tolerances import TOLERANCES
from enginesmith.converters.torch_models.detectors import StockDetector, fix_input_size
from enginesmith.converters.torch_models.seeding import seed_weights, seeded

SIZE = 224
NAMES = ["boxes", "scores", "labels"]
RTX = Target("tensorrt-rtx", "1.7.1")
ROUNDS = 8


def exported(name: str, images: torch.Tensor, path: Path) -> None:
    with seeded(0):
        model = getattr(detection, name)(weights=None, weights_backbone=None)
    fix_input_size(model, SIZE, SIZE)
    seed_weights(model, images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            StockDetector(model),
            (images[:1],),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            output_names=NAMES,
        )


def repaired(path: Path) -> onnx.ModelProto:
    """By all graph repairs, until nothing changes; their proofs are the engine's."""
    model = ir.load(path)
    repairs = [repair for repair in GRAPH_REPAIRS.values() if RTX.backend in repair.backends]
    for _ in range(ROUNDS):
        changes = 0
        for repair in repairs:
            trial = model.clone()
            with suppress(NotApplicable):
                if made := repair.rewrite(trial, RTX):
                    model, changes = trial, changes + made
        infer(model)
        if not changes:
            break
    return ir.to_proto(model)


def detections(model: onnx.ModelProto, image: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(NAMES, {"images": image})
    return pictures_of(fetched(model, dict(zip(NAMES, results, strict=True))))[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"])
def test_a_stock_detector_gets_fixed_shapes_and_finds_the_same(name: str, tmp_path: Path) -> None:
    loaded = [pictures.load(picture, SIZE, SIZE) for picture in ("astronaut", "coffee")]
    images = torch.stack([torch.from_numpy(picture).permute(2, 0, 1) / 255 for picture in loaded])
    exported(name, images, tmp_path / "stock.onnx")
    after = repaired(tmp_path / "stock.onnx")
    assert not {node.op_type for node in after.graph.node} & {"NonZero", "NonMaxSuppression", "If"}
    before, found = onnx.load(tmp_path / "stock.onnx"), 0
    for image in images.numpy()[:, None]:
        expected = detections(before, image)
        match = match_detections(expected, detections(after, image), TOLERANCES["fp32"])
        assert match.passed
        assert match.found == match.expected
        found += match.found
    assert found > 0
    if name.startswith("ssd"):  # the others' RoiAlign is for the repairs of single nodes
        onnx.save(after, tmp_path / "after.onnx")
        with Isolated() as process:
            assert process.call(TRIAL, RTX.backend, str(tmp_path / "after.onnx"), "sm_89", timeout=240) is None
