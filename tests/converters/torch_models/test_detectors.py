"""Static detectors against torchvision's own forward: every detection, on pictures that differ in what makes it hard."""

from __future__ import annotations

import copy
import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.data import pictures as shipped
from enginesmith.converters.torch_models.detectors import (
    Detections,
    StockDetector,
    fix_input_size,
    is_detector,
    make_static,
    reference_forward,
)
from enginesmith.converters.torch_models.seeding import seed_weights, seeded

BUILDERS = {
    "fasterrcnn_resnet50_fpn": detection.fasterrcnn_resnet50_fpn,
    "fasterrcnn_resnet50_fpn_v2": detection.fasterrcnn_resnet50_fpn_v2,
    "fasterrcnn_mobilenet_v3_large_fpn": detection.fasterrcnn_mobilenet_v3_large_fpn,
    "retinanet_resnet50_fpn": detection.retinanet_resnet50_fpn,
    "ssd300_vgg16": detection.ssd300_vgg16,
    "ssdlite320_mobilenet_v3_large": detection.ssdlite320_mobilenet_v3_large,
}
FAST = "fasterrcnn_mobilenet_v3_large_fpn", "ssdlite320_mobilenet_v3_large"


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    picture = nn.functional.interpolate(picture[None], (height, width), mode="bilinear", antialias=True)[0]
    return picture.clamp(0, 1)


def pictures(height: int, width: int) -> Tensor:
    """float32[24, 3, height, width]: shipped photographs and a texture, their crops and flips, and noise."""
    names = ("astronaut", "coffee", "cat", "rocket", "brick")
    sources = [torch.from_numpy(shipped.load(name, height, width)).permute(2, 0, 1).float() / 255 for name in names]
    whole = [resized(picture, height, width) for picture in sources]
    crops = [resized(picture[:, 60:260, 40:300], height, width) for picture in sources]
    flips = [picture.flip(-1) for picture in whole] + [picture.flip(-2) for picture in crops]
    # patches: white noise drives networks that were seeded on pictures to scores of 0.9999, of which rounding picks
    noise = torch.rand(3, -(-height // 8), -(-width // 8), generator=torch.Generator().manual_seed(0))
    noise = noise.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)[:, :height, :width]
    flat = torch.full((3, height, width), 0.45)  # all places alike: many equal scores
    stripes = (torch.arange(width) // 8 % 2).float().expand(3, height, width)
    return torch.stack([*whole, *crops, *flips, noise, flat, stripes, 1 - whole[0]])


@functools.cache
def trained(name: str) -> nn.Module:
    with seeded(0):
        built: nn.Module = BUILDERS[name](weights=None, weights_backbone=None)
    fix_input_size(built, 320, 320)
    seed_weights(built, pictures(320, 320)[:3])
    return built


@functools.cache
def model(name: str, height: int, width: int) -> nn.Module:
    sized = copy.deepcopy(trained(name))
    fix_input_size(sized, height, width)
    # The pooling keeps the scales that it inferred from the first picture.
    if hasattr(sized, "roi_heads"):
        sized.roi_heads.box_roi_pool.scales = None
    return sized


def unmatched(expected: Detections, found: Detections, image: int, noise: float = 0.0) -> tuple[int, float]:
    """Number of detections without a partner (same label, IoU > 0.9, one to one), and the worst score difference.

    With `noise` in the scores, a full list may end with others of those that are this close to its last one.
    """
    boxes, scores, labels = (part[image] for part in found)
    count = int((expected[1][image] >= 0).sum())
    last = float(expected[1][image, -1])
    worst, missing = 0.0, abs(count - int((scores >= 0).sum()))
    free = scores >= 0
    for box, score, label in zip(*(part[image, :count] for part in expected), strict=True):
        shared = (torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])).clamp(min=0).prod(dim=1)
        total = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) - shared
        # Clipped to the border, a box may be left without an area, and so without an IoU.
        flat = bool((box[2:] - box[:2]).min() < 1)
        fits = (boxes - box).abs().amax(dim=1) < 0.5 if flat else shared > 0.9 * total
        fits &= free & (labels == label)
        if not fits.any():
            missing += not (last >= 0 and score <= last + noise)
            continue
        difference = (scores - score).abs().masked_fill(~fits, np.inf)
        free[difference.argmin()] = False
        worst = max(worst, float(difference.min()))
    return missing, worst


def reference(stock: nn.Module, images: Tensor) -> Detections:
    """torchvision's own forward. `Tensor.topk` leaves open which of equal scores it takes, and takes them in no order
    that could be repeated: here the lower index goes first, as in ONNX.
    """

    def topk(values: Tensor, k: int, dim: int = -1) -> tuple[Tensor, Tensor]:
        ordered, index = values.sort(dim=dim, descending=True, stable=True)
        return ordered.narrow(dim, 0, k), index.narrow(dim, 0, k)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "topk", topk)
        return reference_forward(stock, images)


def assert_same(name: str, height: int, width: int, images: Tensor) -> list[int]:
    """Compare the two in PyTorch and return how many detections each picture has."""
    stock, static = model(name, height, width), make_static(model(name, height, width), height, width)
    counts = []
    for image in images.split(1):
        expected = reference(stock, image)
        with torch.no_grad():
            found = static(image)
        assert [t.dtype for t in found] == [torch.float32, torch.float32, torch.int64]
        assert [t.shape for t in found] == [t.shape for t in expected]
        missing, worst = unmatched(expected, found, 0)
        assert missing == 0
        assert worst <= 1e-4
        assert bool((found[1][0].diff() <= 0).all())
        counts.append(int((expected[1] >= 0).sum()))
    return counts


@pytest.mark.parametrize("name", FAST)
def test_equals_torchvision(name: str) -> None:
    one_of_each = [0, 6, 12, 18, 20, 21, 22]
    assert max(assert_same(name, 320, 320, pictures(320, 320)[one_of_each])) > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_all_detectors_equal_torchvision_on_all_pictures(name: str) -> None:
    size = 300 if name.startswith("ssd") else 320
    assert max(assert_same(name, size, size, pictures(size, size))) > 20


@pytest.mark.parametrize("name", FAST)
def test_picture_without_and_with_too_many_detections(name: str) -> None:
    stock = model(name, 320, 320)
    thresholds = stock.roi_heads if hasattr(stock, "roi_heads") else stock
    before = thresholds.score_thresh, thresholds.detections_per_img
    image = pictures(320, 320)[:1]
    try:
        thresholds.score_thresh = 0.9999
        assert assert_same(name, 320, 320, image) == [0]
        thresholds.score_thresh, thresholds.detections_per_img = before[0], 7
        assert assert_same(name, 320, 320, image) == [7]
    finally:
        thresholds.score_thresh, thresholds.detections_per_img = before


@pytest.mark.parametrize("name", FAST)
def test_size_that_needs_padding_and_batches(name: str) -> None:
    height, width = 250, 333
    images = pictures(height, width)[:3]
    assert_same(name, height, width, images)
    stock = model(name, height, width)
    expected = reference(stock, images)
    with torch.no_grad():
        found = make_static(stock, height, width)(images)
    assert [unmatched(expected, found, i)[0] for i in range(3)] == [0, 0, 0]


def test_fewer_proposals() -> None:
    name, images = "fasterrcnn_mobilenet_v3_large_fpn", pictures(320, 320)[:1]
    stock = model(name, 320, 320)
    static = make_static(stock, 320, 320, proposals=50)
    before = stock.rpn._post_nms_top_n
    stock.rpn._post_nms_top_n = before | {"testing": 50}
    try:
        expected = reference(stock, images)
    finally:
        stock.rpn._post_nms_top_n = before
    with torch.no_grad():
        assert unmatched(expected, static(images), 0)[0] == 0


def export(module: nn.Module, images: Tensor, path: Path, dynamo: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (images,),
            str(path),
            dynamo=dynamo,
            opset_version=18,
            input_names=["images"],
            output_names=["boxes", "scores", "labels"],
            **({"external_data": False, "verbose": False} if dynamo else {}),
        )


def check_onnx(name: str, height: int, width: int, path: Path, dynamo: bool, images: Tensor) -> None:
    import onnx
    import onnxruntime

    export(make_static(model(name, height, width), height, width), images[:1], path, dynamo)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    refused = {
        "NonZero",
        "NonMaxSuppression",
        "RoiAlign",
        "Loop",
        "Scan",
        "If",
        "ScatterND",
        "ScatterElements",
        "Compress",
    }
    assert not operators & refused
    session = onnxruntime.InferenceSession(path)
    lost = detections = 0
    for image in images.split(1):
        expected = reference(model(name, height, width), image)
        found = tuple(torch.from_numpy(t) for t in session.run(None, {"images": image.numpy()}))
        missing, worst = unmatched(expected, found, 0, noise=5e-3)  # as much as a score may differ
        assert worst <= 5e-3
        lost, detections = lost + missing, detections + int((expected[1] >= 0).sum())
    # Where two boxes overlap by as much as the suppression allows, rounding decides, which depends on the processor.
    assert lost <= 0.005 * detections


def test_exported_graph_equals_torchvision(tmp_path: Path) -> None:
    check_onnx("ssdlite320_mobilenet_v3_large", 320, 320, tmp_path / "m.onnx", False, pictures(320, 320)[::4])


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", BUILDERS)
def test_all_exported_graphs_equal_torchvision(name: str, dynamo: bool, tmp_path: Path) -> None:
    size = 300 if name == "ssd300_vgg16" else 320
    # the photographs, their crops and flips: on the synthetic ones seeded scores saturate at 1.0, and where scores are
    # equal to the last bit in PyTorch, ONNX Runtime's rounding decides the order
    check_onnx(name, size, size, tmp_path / "m.onnx", dynamo, pictures(size, size)[:20])


def test_stock_detector_gives_unpadded_results() -> None:
    stock = model("ssdlite320_mobilenet_v3_large", 320, 320)
    images = pictures(320, 320)[:1]
    with torch.no_grad():
        boxes, scores, labels = StockDetector(stock)(images)
    expected = reference(stock, images)
    for got, padded in zip((boxes, scores, labels), expected, strict=True):
        assert torch.equal(got, padded[0, : len(got)])


def test_what_is_not_supported_says_so() -> None:
    with seeded(0):
        mask = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    assert is_detector(mask)
    assert not is_detector(nn.Linear(1, 1))
    with pytest.raises(UserError, match="MaskRCNN"):
        make_static(mask, 320, 320)
    with pytest.raises(UserError, match="Linear"):
        make_static(nn.Linear(1, 1), 320, 320)
    with pytest.raises(UserError, match="Linear"):
        fix_input_size(nn.Linear(1, 1), 320, 320)
    ssd = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    with pytest.raises(UserError, match="proposals"):
        make_static(ssd, 320, 320, proposals=10)
    with pytest.raises(UserError, match="positive"):
        fix_input_size(ssd, 0, 320)
