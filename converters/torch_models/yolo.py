"""Ultralytics' models: a name or a `.yaml` with seeded weights, or a `.pt` with its own.

The model runs as its author's predictor runs it, without the rewriting of the package's own exporter: the raw feature maps that
it returns besides the predictions are left out, and anchors are computed from the picture's size on each call instead of
being kept from the last one.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.records import Weights
from enginesmith.converters.data import pictures
from enginesmith.converters.torch_models.example import Example
from enginesmith.converters.torch_models.loaded import LoadedModel
from enginesmith.converters.torch_models.weights import load_weights

if TYPE_CHECKING:
    import torch
    from torch import nn

SIZES = {"classify": 224}
"""Pixels a side, as ultralytics trains the tasks; else 640."""


def load_yolo(ref: str, path: Path | None, weights: str, trust: bool, seed: int) -> LoadedModel:
    """The model called `ref` (`yolo11n`, `yolo11n-seg.yaml`), or of the `.pt` file at `path`. Its input is `images`, float32
    [1, 3, 640, 640] in 0..1, RGB; its outputs are `output0` and, where it segments, the prototypes of masks `output1`.

    `weights` is `auto`, `pretrained`, `random` or a state dict's path. Raises UserError.
    """
    os.environ.setdefault("YOLO_OFFLINE", "true")  # it would look names up when imported,
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # and install packages that a file names
    os.environ.setdefault("YOLO_VERBOSE", "false")
    import torch

    threads = torch.get_num_threads()
    from ultralytics.nn import tasks

    torch.set_num_threads(threads)  # which it sets to its own number
    torch.manual_seed(seed)
    warnings: tuple[str, ...] = ()
    if path:
        if weights != "auto":
            raise UserError(f"{path.name} carries its weights; leave WEIGHTS out")
        model: Any = _checkpoint(path, trust)
        origin = Weights(origin="model", detail=f"in {path.name}")
    else:
        if weights == "pretrained":
            raise UserError(
                f"the pretrained weights of {ref} are a .pt file: give ultralytics:{Path(ref).stem}.pt, as `yolo` fetches it"
            )
        model = _architecture(ref)
        origin = Weights(origin="random", detail=f"seed {seed}")
        if weights == "auto":
            warnings = (
                f"the weights are random, with seed {seed}: the engine is only good for trying the road. Give "
                f"ultralytics:{Path(ref).stem}.pt, as `yolo` fetches it, or WEIGHTS=path",
            )
        elif weights != "random":
            load_weights(model, Path(weights), trust)
            origin = Weights(origin="file", detail=weights)
    task = tasks.guess_model_task(model)
    size = SIZES.get(task or "", 640)
    shown = torch.from_numpy(pictures.load(pictures.names()[0], size, size)).permute(2, 0, 1)[None] / 255
    images = shown if (channels := model.yaml.get("channels", 3)) == 3 else torch.rand(1, channels, size, size)
    return LoadedModel(
        predictions(model).eval(),
        origin,
        example=Example((images,)),
        library="ultralytics",
        warnings=warnings,
        task="classification" if task == "classify" else "tensor",
        pixels="unit",
    )


def predictions(model: nn.Module) -> nn.Module:
    """The module whose outputs are what the model's predictor reads of its own: tensors, without the raw maps."""
    from torch import nn

    for part in model.modules():
        if hasattr(part, "dynamic"):
            part.dynamic = True  # type: ignore[assignment] # anchors from the size at hand

    class Predictions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            made = self.model(images)
            # a head returns what it predicts, and behind it what its loss would take
            return tuple(_tensors(made[0] if isinstance(made, (tuple, list)) else made))

    return Predictions()


def _tensors(made: Any) -> Iterator[torch.Tensor]:
    if isinstance(made, (tuple, list)):
        for part in made:
            yield from _tensors(part)
    else:
        yield made


def _checkpoint(path: Path, trust: bool) -> Any:
    """Without trust, only ultralytics' and torch's own classes are made."""
    from ultralytics.nn import tasks

    try:
        checkpoint, _ = tasks.torch_safe_load(str(path), safe_only=not trust)
    except Exception as error:
        remedy = "" if trust else "; if it has classes of its own, --trust runs their code"
        raise UserError(f"{path} can't be read as a checkpoint of ultralytics: {first_line(error)}{remedy}") from error
    model = checkpoint.get("ema") or checkpoint.get("model")
    if not hasattr(model, "yaml"):
        raise UserError(f"{path} holds no model of ultralytics; a state dict goes to WEIGHTS, beside ultralytics:NAME")
    return model.float().eval()


def _architecture(name: str) -> Any:
    from ultralytics.nn import tasks
    from ultralytics.utils import ROOT

    file = Path(name)
    if file.suffix not in (".yaml", ".yml"):
        file = file.with_name(f"{file.name}.yaml")
    kinds = {
        "classify": tasks.ClassificationModel,
        "detect": tasks.DetectionModel,
        "segment": tasks.SegmentationModel,
        "semantic": tasks.SemanticSegmentationModel,
        "pose": tasks.PoseModel,
        "obb": tasks.OBBModel,
        "depth": tasks.DepthModel,
    }
    try:
        config = tasks.yaml_model_load(file)
    except (FileNotFoundError, AssertionError):
        known = sorted(path.stem for path in (ROOT / "cfg" / "models").rglob("*.yaml"))
        near = difflib.get_close_matches(file.stem, known, n=3)
        raise UserError(
            f"ultralytics has no model {name!r}"
            + (f"; nearest: {', '.join(near)}" if near else f" (it has {len(known)})")
        ) from None
    task = tasks.guess_model_task(config)
    kind = tasks.RTDETRDetectionModel if "rtdetr" in file.stem else kinds.get(task or "detect", tasks.DetectionModel)
    return kind(config, verbose=False)
