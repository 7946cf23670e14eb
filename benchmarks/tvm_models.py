"""The ONNX graphs that `benchmarks/tvm.py` times: exported and simplified as the pipeline does, with seeded weights.

    .venv/bin/python benchmarks/tvm_models.py OUT resnet18 vit_b_16 ...

A process of its own, since torch and TVM don't share one. `seed_weights` leaves no branch at zero, behind which a wrong
kernel could hide.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import onnx
import onnxsim
import torch
import torchvision
from torch import nn

from enginesmith.converters.torch_models.detectors import fix_input_size, make_static
from enginesmith.converters.torch_models.seeding import seed_weights, seeded
from enginesmith.converters.torch_models.small_models import lenet, mlp

DETECTORS = {
    "fasterrcnn_resnet50_fpn": 320,
    "retinanet_resnet50_fpn": 320,
    "ssdlite320_mobilenet_v3_large": 320,
    "ssd300_vgg16": 300,
}
"""Their static forms, with the side of the square picture that they take."""
SMALL = {"lenet": (lenet, (1, 1, 28, 28)), "mlp": (mlp, (4, 64))}
"""The zoo's own, with the shape of their input."""


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The module in evaluation mode, and an input for it: float32[1, 3, H, W] but for the small ones."""
    if name in DETECTORS:
        size = DETECTORS[name]
        images = torch.rand(2, 3, size, size)
        model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
        fix_input_size(model, size, size)
        seed_weights(model, images)
        return make_static(model, size, size), images[:1]
    if name in SMALL:
        factory, shape = SMALL[name]
        return factory().eval(), torch.randn(shape)
    model = torchvision.models.get_model(name, weights=None)
    seed_weights(model, torch.randn(2, 3, 224, 224))
    return model, torch.randn(1, 3, 224, 224)


def export(name: str, path: Path) -> None:
    """Write the graph with its weights. A detector goes through the exporter that keeps its static form shortest."""
    with seeded(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, example = build(name)
        dynamo = name not in DETECTORS
        torch.onnx.export(model, (example,), str(path), dynamo=dynamo, opset_version=18, external_data=False,
                          verbose=False, input_names=["x"])  # fmt: skip
    simplified, correct = onnxsim.simplify(onnx.load(path))
    if not correct:
        raise RuntimeError(f"onnxsim changes what {name} computes")
    onnx.save(simplified, path)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for wanted in sys.argv[2:]:
        export(wanted, folder / f"{wanted}.onnx")
        print(wanted, flush=True)
