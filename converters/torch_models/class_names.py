"""What a model's classes are called, where its library or the model itself says so."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from enginesmith.converters.torch_models.loaded import LoadedModel

if TYPE_CHECKING:
    from torch import nn

UNNAMED = "LABEL_"
"""What transformers calls the classes that nobody named."""


def class_names(loaded: LoadedModel, ref: str) -> list[str]:
    """By their numbers; empty where nothing says them. A state dict of the user's own may be for other classes than those
    that the library's model was trained on.
    """
    if loaded.library and loaded.weights.origin == "file":
        return []
    with suppress(Exception):  # a library's table, or an attribute of anybody's module, may be of any kind
        if loaded.library == "torchvision":
            from torchvision.models import get_model_weights

            return [str(name) for name in next(iter(get_model_weights(ref))).meta["categories"]]
        if loaded.library == "timm":
            return _of_timm(loaded.module)
        return next(filter(None, map(_own, loaded.module.modules())), [])
    return []


def _of_timm(model: nn.Module) -> list[str]:
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(model)
    return list(ImageNetInfo(subset).label_descriptions()) if subset else []


def _own(module: Any) -> list[str]:
    """Ultralytics' `names` and transformers' `config.id2label` are dicts by number."""
    found = getattr(module, "names", None)
    found = found if isinstance(found, Mapping) else getattr(getattr(module, "config", None), "id2label", None)
    if not isinstance(found, Mapping) or not found:
        return []
    names = [str(found[number]) for number in range(len(found))]
    return [] if all(name.startswith(UNNAMED) for name in names) else names
