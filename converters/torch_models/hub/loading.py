"""From a folder or a name on the hub to a module, its weights, and a call of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.records import Weights
from enginesmith.converters.torch_models.hub.part import choose
from enginesmith.converters.torch_models.loaded import LoadedModel
from enginesmith.converters.torch_models.weights import load_weights, reachable

if TYPE_CHECKING:
    from torch import nn

HOST = "huggingface.co"
CONFIG = "config.json"
PIPELINE = "model_index.json"
"""Of diffusers: the components, each in a folder."""
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.py")
"""What is fetched of a model on the hub: configurations, weights, vocabularies, and code of its own, which `trust` runs."""


def load_hub_model(ref: str, path: Path | None, weights: str, trust: bool, seed: int) -> LoadedModel:
    """The part of a model that `ref` names, `ORG/NAME@REVISION#PART` or, with its folder at `path`, `#PART`.

    `weights` is `auto`, `pretrained`, `random` or a state dict's path. Where there are none, `auto` goes on with seeded ones and a warning.
    Raises UserError.
    """
    name, _, part = ref.partition("#")
    folder, unreachable = (path, "") if path else _fetched(name)
    where = f"hf:{folder.name if path else name}"
    config = _read(folder / CONFIG if (folder / CONFIG).is_file() else folder / PIPELINE, where)
    if "_class_name" in config and not (folder / CONFIG).is_file():
        folder, part = _component(folder, config, part, where)
        config = _read(folder / CONFIG, f"{where}/{folder.name}")
    if "_class_name" in config:
        from enginesmith.converters.torch_models.hub.diffusers_models import build, parts
    else:
        from enginesmith.converters.torch_models.hub.transformers_models import build, parts
    module, origin, warnings = _with_weights(build, folder, weights, trust, seed, where)
    found = choose(parts(module.eval(), folder), part, where)
    return LoadedModel(
        found.module.eval(),
        origin,
        example=found.example,
        warnings=warnings,
        unreachable=unreachable if origin.origin == "random" else "",
        task=found.task,
        pixels=found.pixels,
    )


Builder = Callable[[Path, bool, bool], tuple["nn.Module", tuple[str, ...]]]
"""Takes the folder, whether to load its weights, and trust; returns the module in float32, and what to warn of."""


def _with_weights(
    build: Builder, folder: Path, weights: str, trust: bool, seed: int, where: str
) -> tuple[nn.Module, Weights, tuple[str, ...]]:
    import torch

    shipped = any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    if weights == "pretrained" and not shipped:
        raise UserError(f"{where} has no weights (*.safetensors); give WEIGHTS a path, random, or leave it out")
    torch.manual_seed(seed)
    if shipped and weights in ("auto", "pretrained"):
        module, warnings = build(folder, True, trust)
        return module, Weights(origin="pretrained", detail=f"in {where}"), warnings
    module, warnings = build(folder, False, trust)
    if weights not in ("auto", "random"):
        load_weights(module, Path(weights), trust)
        return module, Weights(origin="file", detail=weights), warnings
    if weights == "auto":
        warnings = (
            *warnings,
            f"{where} has no weights (*.safetensors); they are random, with seed {seed}: the engine is only good for trying "
            "the road. Give WEIGHTS=path",
        )
    return module, Weights(origin="random", detail=f"seed {seed}"), warnings


def _fetched(name: str) -> tuple[Path, str]:
    """The folder of a model on the hub, in its client's cache, and the host if it didn't answer. Raises UserError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    online = reachable(HOST)
    try:
        folder = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(FILES), local_files_only=not online
        )
    except LocalEntryNotFoundError:
        raise UserError(
            f"can't fetch {name}: {HOST} does not answer, and it isn't in the cache; give hf:DIR, a folder with its files"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"can't fetch {name}: {first_line(error)}") from None
    return Path(folder), "" if online else HOST


def _component(folder: Path, index: Mapping[str, Any], part: str, where: str) -> tuple[Path, str]:
    """A pipeline's component, and which part of it is meant: of `vae_decoder` the `decoder` of `vae`."""
    names = [
        name
        for name, entry in index.items()
        if isinstance(entry, list) and len(entry) == 2 and entry[0] and (folder / name / CONFIG).is_file()
    ]
    for name in sorted(names, key=len, reverse=True):
        if part == name:
            return folder / name, ""
        if part.startswith(f"{name}_"):
            return folder / name, part.removeprefix(f"{name}_")
    listed = ", ".join(names) or "no component with a config.json"
    wrong = f"has no part {part!r}" if part else "is a pipeline; choose a part"
    raise UserError(f"{where} {wrong}: hf:…#NAME of {listed}")


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{where} has no {CONFIG} and no {PIPELINE}: no model of transformers or diffusers") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {first_line(error)}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no configuration")
    return config
