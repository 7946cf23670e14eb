"""Stock against static Faster R-CNN in ONNX Runtime: time of one picture, and what fewer proposals cost.

    python benchmarks/static_detectors.py [--large] [--runs 15] [--proposals 1000 500 300 100]

Prints medians of interleaved runs with the machine's load. The weights are seeded so that the stock graph keeps its full
1000 proposals: with fewer it would have less to pool and classify than the static graph.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import box_iou

from enginesmith.converters.data import pictures as shipped
from enginesmith.converters.torch_models.detectors import StockDetector, fix_input_size, make_static
from enginesmith.converters.torch_models.seeding import seed_weights, seeded

NAMES = ["boxes", "scores", "labels"]


def pictures(height: int, width: int) -> Tensor:
    """float32[4, 3, height, width] in 0..1: pictures that the package ships."""
    names = ("astronaut", "coffee", "cat", "rocket")
    return torch.stack([torch.from_numpy(shipped.load(name, height, width)).permute(2, 0, 1) / 255 for name in names])


def export(module: nn.Module, images: Tensor, path: Path, opset: int) -> onnxruntime.InferenceSession:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (images,), str(path), dynamo=False, opset_version=opset, input_names=["images"], output_names=NAMES
        )
    nodes = sum(node.op_type != "Constant" for node in onnx.load(path).graph.node)
    print(f"{path.stem}: exported in {time.perf_counter() - started:.1f} s, {nodes} nodes without constants")
    return onnxruntime.InferenceSession(path)


def kept_proposals(model: nn.Module, image: Tensor) -> int:
    """How many proposals torchvision's RPN passes on."""
    counts: list[int] = []
    handle = model.rpn.register_forward_hook(lambda module, inputs, output: counts.append(len(output[0][0])))
    with torch.no_grad():
        model([image])
    handle.remove()
    return counts[0]


def matched(expected: list[np.ndarray], found: list[np.ndarray]) -> str:
    """How many of the expected detections the other graph found too: same label and IoU > 0.9."""
    real = expected[1][0] >= 0
    if not real.any():
        return "none expected"
    iou = box_iou(torch.from_numpy(expected[0][0][real]), torch.from_numpy(found[0][0])).numpy()
    hits = (iou > 0.9) & (expected[2][0][real][:, None] == found[2][0][None]) & (found[1][0] >= 0)[None]
    return f"{int(hits.any(axis=1).sum())} of {int(real.sum())}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="800x1344 instead of 320x320")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--proposals", type=int, nargs="*", default=[1000, 500, 300, 100])
    arguments = parser.parse_args()
    height, width = (800, 1344) if arguments.large else (320, 320)

    with seeded(0):
        model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    images = pictures(height, width)
    fix_input_size(model, height, width)
    seed_weights(model, images)
    images = images[:2] if arguments.large else images
    print(f"{height}x{width}, proposals kept by torchvision: {[kept_proposals(model, image) for image in images]}")

    with tempfile.TemporaryDirectory() as folder:
        sessions = {"stock": export(StockDetector(model), images[:1], Path(folder, "stock.onnx"), 17)}
        for count in arguments.proposals:
            static = make_static(model, height, width, proposals=count)
            sessions[f"static {count}"] = export(static, images[:1], Path(folder, f"static{count}.onnx"), 18)
        times: dict[str, list[float]] = {name: [] for name in sessions}
        feeds = [{"images": image[None].numpy()} for image in images]
        for session in sessions.values():
            session.run(None, feeds[0])
        for run in range(arguments.runs):
            for name, session in sessions.items():
                started = time.perf_counter()
                session.run(None, feeds[run % len(feeds)])
                times[name].append((time.perf_counter() - started) * 1e3)

        print(f"load average {os.getloadavg()[0]:.2f}, {arguments.runs} interleaved runs")
        stock = statistics.median(times["stock"])
        for name, values in times.items():
            median = statistics.median(values)
            print(f"{name:12} median {median:8.1f} ms  min {min(values):8.1f} ms  ratio {median / stock:.2f}")
        full = f"static {max(arguments.proposals)}" if arguments.proposals else "stock"
        for name, session in sessions.items():
            if name not in ("stock", full):
                kept = [matched(sessions[full].run(None, feed), session.run(None, feed)) for feed in feeds]
                print(f"{name} finds of {full}'s detections: {', '.join(kept)}")


if __name__ == "__main__":
    main()
