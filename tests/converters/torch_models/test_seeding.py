"""Seeded weights: deterministic, alive in every layer, and useful in detectors."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from enginesmith.converters.torch_models.seeding import seed_weights, seeded

INPUTS = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def build(name: str, seed: int = 0) -> nn.Module:
    with seeded(seed):
        if name == "mlp":
            model: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 64), nn.ReLU(), nn.Linear(64, 10))
        elif name.startswith("timm:"):
            options = {"img_size": 64} if "vit" in name else {}
            model = timm.create_model(name.removeprefix("timm:"), pretrained=False, **options)
        else:
            model = torchvision.models.get_model(name, weights=None)
    seed_weights(model, INPUTS)
    return model


@pytest.mark.parametrize(
    "name",
    ["mlp", "vgg11", "timm:resnet18", "timm:mobilenetv3_small_100", "timm:efficientnet_b0", "timm:vit_tiny_patch16_224",
     "timm:convnext_atto", "shufflenet_v2_x0_5"],
)  # fmt: skip
def test_signals_neither_die_nor_explode(name: str) -> None:
    model = build(name)
    ranges: list[float] = []

    def measure(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and output.numel() > 1:
            ranges.append(float(output.std()))

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(measure)
    with torch.no_grad():
        outputs = model(INPUTS)
    assert max(ranges) < 100
    assert float(outputs.std()) == pytest.approx(1, abs=0.5)
    # Different pictures are told apart.
    assert float((outputs[0] - outputs[1]).abs().max()) > 0.05


def test_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    first, second, other = (build("timm:resnet18", seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_residual_branches_count() -> None:
    """timm initializes the last scale of each residual branch to zero, which would hide a wrong branch."""
    model = build("timm:resnet18")
    assert all(
        float(block.bn2.weight.detach().abs().min()) > 0.1 for layer in (model.layer1, model.layer4) for block in layer
    )
    scales = [p for name, p in build("timm:convnext_atto").named_parameters() if name.endswith("gamma")]
    assert scales
    assert all(float(p.detach().abs().min()) > 0.1 for p in scales)


def test_seeded_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(0):
        torch.rand(100)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"])
def test_a_detector_is_aimed_without_running_all_of_it_again(name: str) -> None:
    with seeded(0):
        model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    layers = [module for module in model.backbone.modules() if isinstance(module, nn.Conv2d)]
    runs: list[None] = []
    handle = layers[0].register_forward_hook(lambda *_: runs.append(None))
    seed_weights(model, INPUTS)
    assert len(runs) == 2  # once to calibrate, once for all tries
    handle.remove()
    with torch.no_grad():
        found, others = model(list(INPUTS)), model([1 - image for image in INPUTS])
    assert max(len(result["scores"]) for result in found) > 5
    assert not torch.equal(found[0]["scores"], others[0]["scores"])  # afterwards it computes as ever
