"""Deterministic weights for models whose pretrained ones can't be had, such that comparing two conversions means something.

Freshly built weights are a poor test: signals fade or grow from layer to layer, branches that are initialized to zero hide
wrong results, and a detector finds nothing. `seed_weights` measures each layer on real inputs, in the order of
execution, and sets it so that its output has unit variance (LSUV: Mishkin & Matas, All you need is a good init,
arXiv 1511.06422); normalization layers get the statistics that training would have given them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD
from torchvision.ops.misc import FrozenBatchNorm2d

LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
BATCH_NORM = (nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d)

ZERO = 1e-3
"""A scale whose entries are all below this was initialized to switch its branch off (LayerScale starts at 1e-5)."""

DETECTIONS_PER_IMAGE = 60
"""Aim for detectors: enough for a comparison, and clear of the limits of 100 to 300 per picture."""


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Random numbers from `seed` within the block, such as for building a model; the state from before comes back after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def seed_weights(
    model: nn.Module, inputs: Tensor | Sequence[Any], seed: int = 0, named: Mapping[str, Any] | None = None
) -> None:
    """Set the weights of `model` in place, deterministically, by what its layers do to `inputs`; leaves it in eval mode.

    Build the model within `seeded(seed)`: convolutions, linear layers and embeddings keep the directions that they were
    initialized with, and are scaled. `inputs` are the positional arguments of a forward call, a tensor stands for a single
    one; `named` are those by keyword. For one of torchvision's detectors the inputs are its pictures: float32[N, 3, H, W],
    or a list of float32[3, H, W].

    A detector's heads are also given gains and biases with which it finds some `DETECTIONS_PER_IMAGE` objects on the
    median picture.
    """
    detector = isinstance(model, FasterRCNN | RetinaNet | SSD)
    arguments: Sequence[Any] = ([*inputs],) if detector else (inputs,) if isinstance(inputs, Tensor) else inputs
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    with torch.no_grad():
        _fill_zeros(model, generator)
        call = partial(model, *arguments, **(named or {}))
        _calibrate(model, call, _output_gains(model), len(arguments[0]) if detector else 0)
        if detector:
            _aim_detections(model, arguments[0])


def _fill_zeros(model: nn.Module, generator: torch.Generator) -> None:
    """Give values to what is initialized to zero, or nearly so: last scales of residual branches, tokens, positions."""

    def uniform(parameter: Tensor, low: float, high: float) -> None:
        parameter.copy_(torch.rand(parameter.shape, generator=generator) * (high - low) + low)

    fixed = _fixed(model)
    for module in model.modules():
        norm = isinstance(module, BATCH_NORM) or "Norm" in type(module).__name__
        own = [*module.named_parameters(recurse=False)]
        if isinstance(module, FrozenBatchNorm2d):
            own += [("weight", module.weight), ("bias", module.bias)]
        for name, parameter in own:
            if not parameter.is_floating_point() or not parameter.numel() or id(parameter) in fixed:
                continue
            small = bool(parameter.abs().max() < ZERO)
            if norm and name == "weight":
                uniform(parameter, 0.3, 0.7) if small else uniform(parameter, 0.8, 1.2)
            elif norm and name == "bias":
                uniform(parameter, -0.2, 0.2)
            elif not small:
                continue
            elif name == "bias":
                uniform(parameter, -0.05, 0.05)
            elif parameter.squeeze().dim() == 1 and not isinstance(module, LINEAR):
                uniform(parameter, 0.3, 0.7)  # LayerScale and its kin
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)


def _fixed(model: nn.Module) -> set[int]:
    """Parameters that are no weights: their author keeps them from training, such as the bins of a distribution that a
    convolution sums, or the waves of positions. Where nothing trains that says nothing.
    """
    kept = {id(parameter) for parameter in model.parameters() if not parameter.requires_grad}
    return kept if any(parameter.requires_grad for parameter in model.parameters()) else set()


def _calibrate(model: nn.Module, call: Callable[[], Any], gains: dict[nn.Module, float], pictures: int) -> None:
    """Run `model` once, by `call`; each layer is set when it is first reached, so that the next ones see what it will give.

    `gains` has the standard deviations of the layers that are not to have 1; they are the heads of a detector, which is
    shown so many `pictures`.
    """
    done: set[nn.Module] = set()

    def normalize(module: Any, inputs: tuple[Tensor, ...]) -> None:
        if module in done or not inputs[0].is_floating_point():
            return
        done.add(module)
        values = inputs[0].transpose(0, 1).flatten(1)
        module.running_mean.copy_(values.mean(dim=1))
        # A channel without any variance must not be blown up.
        variance = values.var(dim=1, correction=0)
        module.running_var.copy_(torch.clamp(variance, min=1e-3 * float(variance.mean()) + 1e-8))

    def scale(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if module in done:
            return None
        done.add(module)
        if module in gains and pictures:
            _ignore_picture(module, inputs[0], pictures)
            output = module.forward(*inputs)
        deviation = float(output.std()) if output.numel() > 1 else 0.0
        if not deviation > 1e-8:
            return None
        module.weight.mul_(gains.get(module, 1.0) / deviation)
        result: Tensor = module.forward(*inputs)
        return result

    handles = []
    fixed = _fixed(model)
    for module in model.modules():
        if id(getattr(module, "weight", None)) in fixed:
            continue
        if isinstance(module, BATCH_NORM) and getattr(module, "running_mean", None) is not None:
            handles.append(module.register_forward_pre_hook(normalize))
        elif isinstance(module, LINEAR):
            handles.append(module.register_forward_hook(scale))
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()


def _ignore_picture(module: Any, inputs: Tensor, pictures: int) -> None:
    """Make a head blind to what all places of a picture have in common.

    Random features differ more between pictures than within one, so that all detections would be in a single picture.
    `inputs` are [N, channels, H, W], or [N * proposals, channels].
    """
    chunks = [chunk.transpose(0, 1).flatten(1) for chunk in inputs.chunk(pictures)]
    means = torch.stack([chunk.mean(dim=1) for chunk in chunks], dim=1)
    basis = torch.linalg.qr(means).Q
    weight = module.weight.data
    flat = weight.transpose(0, 1).flatten(1)
    flat = flat - basis @ (basis.T @ flat)
    weight.copy_(flat.view(weight.transpose(0, 1).shape).transpose(0, 1))


def _output_gains(model: nn.Module) -> dict[nn.Module, float]:
    """Standard deviations for the outputs of a detector's heads: logits that differ, boxes that leave their anchors. Ultralytics'
    boxes are means of bins, in strides: wide distributions make a hundred times as much of the logits' rounding.
    """
    if isinstance(model, FasterRCNN):
        rpn, predictor = model.rpn.head, model.roi_heads.box_predictor
        # The second stage's coder divides offsets by 10 and log sizes by 5.
        return {rpn.cls_logits: 2.0, rpn.bbox_pred: 0.4, predictor.cls_score: 2.0, predictor.bbox_pred: 1.5}
    if isinstance(model, RetinaNet):
        return {model.head.classification_head.cls_logits: 1.5, model.head.regression_head.bbox_reg: 0.4}
    if isinstance(model, SSD):
        classify = dict.fromkeys(map(_last_layer, model.head.classification_head.module_list), 2.0)
        return classify | dict.fromkeys(map(_last_layer, model.head.regression_head.module_list), 2.0)
    heads = [part for part in model.modules() if hasattr(part, "reg_max") and hasattr(part, "dfl")]
    lists = [part for head in heads for part in head.children() if isinstance(part, nn.ModuleList)]
    return {_last_layer(block): 0.3 for blocks in lists for block in blocks}


def _last_layer(block: nn.Module) -> Any:
    return [module for module in block.modules() if isinstance(module, LINEAR)][-1]


def _aim_detections(model: nn.Module, images: Sequence[Tensor]) -> None:
    """Shift the scores of all labels, by bisection, until about DETECTIONS_PER_IMAGE objects are found.

    The median picture counts: random features are stronger on some pictures, and a mean would leave the others empty.
    """
    shift = _shifter(model)
    low, high = -15.0, 15.0
    shift(low)
    at = low
    with _run_once(_before_scores(model)):
        for _ in range(12):
            middle = (low + high) / 2
            shift(middle - at)
            at = middle
            found = statistics.median(len(result["scores"]) for result in model(list(images)))
            if 0.8 * DETECTIONS_PER_IMAGE <= found <= 1.2 * DETECTIONS_PER_IMAGE:
                break
            low, high = (middle, high) if found < DETECTIONS_PER_IMAGE else (low, middle)


def _before_scores(model: Any) -> list[nn.Module]:
    """What `_shifter` has no influence on, and is called once for each batch: nearly all that a detector computes."""
    if isinstance(model, FasterRCNN):
        return [model.backbone, model.rpn, model.roi_heads.box_roi_pool, model.roi_heads.box_head]
    return [model.backbone, model.head.regression_head]


@contextmanager
def _run_once(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within the block each of these returns what it returned at its first call."""

    def kept(forward: Callable[..., Any]) -> Callable[..., Any]:
        first: list[Any] = []

        def again(*arguments: Any) -> Any:
            if not first:
                first.append(forward(*arguments))
            return first[0]

        return again

    for module in modules:
        module.forward = kept(module.forward)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def _shifter(model: Any) -> Callable[[float], None]:
    """A function that makes objects more likely by an amount in logits: a lower background, or higher labels."""
    if isinstance(model, FasterRCNN):
        bias = model.roi_heads.box_predictor.cls_score.bias
        return lambda amount: _add([bias[:1]], -amount)
    if isinstance(model, RetinaNet):
        return lambda amount: _add([model.head.classification_head.cls_logits.bias], amount)
    head = model.head.classification_head
    biases = [_last_layer(block).bias.view(-1, head.num_columns)[:, 0] for block in head.module_list]
    return lambda amount: _add(biases, -amount)


def _add(biases: Sequence[Tensor], amount: float) -> None:
    for bias in biases:
        bias.add_(amount)
