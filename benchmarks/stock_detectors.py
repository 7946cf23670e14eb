"""torchvision's own detector graphs, repaired from the .onnx alone: built for TensorRT-RTX, compared in ONNX Runtime.

    PYTHONPATH=. python benchmarks/stock_detectors.py [frcnn retinanet ssdlite maskrcnn] [--out build/stock_detectors]

Exports each detector with the TorchScript exporter (opset 17, 320x320, seeded weights), gives the file to the repair engine
for TensorRT-RTX, builds the result, and matches its detections with those of the stock graph on the pictures that the
package ships. Prints nodes, times and matches; times are medians of interleaved runs in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torchvision.models import detection

from enginesmith.compat.interface import fetched
from enginesmith.compat.target import Target
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import Isolated
from enginesmith.converters.data import pictures as shipped
from enginesmith.converters.graphs.matching import match_detections, merge, pictures_of
from enginesmith.converters.graphs.repair import repair_file
from enginesmith.converters.graphs.tolerances import TOLERANCES
from enginesmith.converters.torch_models.detectors import fix_input_size
from enginesmith.converters.torch_models.seeding import seed_weights, seeded

MODELS = {
    "frcnn": detection.fasterrcnn_resnet50_fpn,
    "retinanet": detection.retinanet_resnet50_fpn,
    "ssdlite": detection.ssdlite320_mobilenet_v3_large,
    "maskrcnn": detection.maskrcnn_resnet50_fpn,
}
NAMES = ("boxes", "scores", "labels", "masks")
PICTURES = ("astronaut", "coffee", "cat", "rocket")
SIZE = 320
BACKEND, GPU = "tensorrt-rtx", "sm_89"


class Stock(nn.Module):
    """The detector as a function of one picture, float32[1, 3, H, W] in 0..1, to what it finds."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.model([images[0]])[0]
        return tuple(found[name] for name in NAMES if name in found)


def pictures() -> Tensor:
    """float32[4, 3, 320, 320] in 0..1."""
    loaded = [shipped.load(name, SIZE, SIZE) for name in PICTURES]
    return torch.stack([torch.from_numpy(picture).permute(2, 0, 1) / 255 for picture in loaded])


def export(name: str, path: Path) -> None:
    """Write the stock graph, once."""
    if path.exists():
        return
    with seeded(0):
        model = MODELS[name](weights=None, weights_backbone=None)
    fix_input_size(model, SIZE, SIZE)
    seed_weights(model, pictures())
    names = list(NAMES[:4] if name == "maskrcnn" else NAMES[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Stock(model),
            (pictures()[:1],),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            output_names=names,
        )


class Graph:
    """An ONNX file in ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.model = onnx.load(str(path))
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.milliseconds: list[float] = []

    @property
    def nodes(self) -> int:
        return sum(node.op_type != "Constant" for node in self.model.graph.node)

    def run(self, picture: Any) -> dict[str, Any]:
        started = time.perf_counter()
        results = self.session.run(self.names, {"images": picture})
        self.milliseconds.append((time.perf_counter() - started) * 1e3)
        return fetched(self.model, dict(zip(self.names, results, strict=True)))


def compare(stock: Graph, repaired: Graph, runs: int) -> str:
    """Run both in turn on all pictures; what matches."""
    matches, masks = [], []
    feeds = pictures().numpy()[:, None]
    for number in range(runs):
        for feed in feeds:
            expected, found = stock.run(feed), repaired.run(feed)
            if number:
                continue
            pairs = zip(pictures_of(expected), pictures_of(found), strict=True)
            matches += [match_detections(*pair, TOLERANCES["fp32"]) for pair in pairs]
            if "masks" in expected and expected["masks"].shape == found["masks"].shape:
                masks.append(float(np.abs(expected["masks"] - found["masks"]).max(initial=0)))
    match = merge(matches)
    text = f"{match.matched} of {match.expected} detections match ({'passed' if match.passed else 'FAILED'}), found {match.found}"
    text += f", worst IoU {match.worst_iou:.6f}, worst score difference {match.worst_score_difference:.1e}"
    return text + (f", worst mask difference {max(masks):.1e}" if masks else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--out", type=Path, default=Path("build/stock_detectors"))
    parser.add_argument("--runs", type=int, default=3, help="runs of each picture, for the times")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    target = Target(BACKEND, get_backend(BACKEND).version())
    given = [{"images": picture} for picture in pictures().numpy()[:1, None]]
    for name in arguments.models:
        source, out = arguments.out / f"{name}.onnx", arguments.out / f"{name}.{BACKEND}.onnx"
        export(name, source)
        out.unlink(missing_ok=True)
        started = time.monotonic()
        report = repair_file(source, out, target, given=given)
        print(f"{name}: repaired in {time.monotonic() - started:.0f} s", flush=True)
        for attempt in report.attempts:
            result = attempt.proof.reason or f"error {attempt.proof.error:.1e}" if attempt.proof else attempt.reason
            print(f"  {attempt.repair} {attempt.op} {attempt.node}: {'made' if attempt.made else 'not made'}, {result}")
        if report.proof is not None:
            print(f"  whole graph: {report.proof}")
        for finding in report.left:
            print(f"  left: {finding.severity} {finding.op} {finding.node}: {finding.message}")
        if not out.exists():
            continue
        with Isolated(without_torch=False) as process:
            started = time.monotonic()
            rejection = process.call(TRIAL, BACKEND, str(out), GPU, timeout=600)
        outcome = f"refused: {rejection}" if rejection else "built"
        print(f"  {BACKEND} for {GPU}: {outcome} in {time.monotonic() - started:.1f} s (with the start of the process)")
        stock, repaired = Graph(source), Graph(out)
        print(f"  {compare(stock, repaired, arguments.runs)}")
        times = [statistics.median(graph.milliseconds) for graph in (stock, repaired)]
        print(
            f"  {stock.nodes} nodes before, {repaired.nodes} after; {times[0]:.0f} ms before, {times[1]:.0f} ms after "
            f"(ratio {times[1] / times[0]:.2f}, load {os.getloadavg()[0]:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
