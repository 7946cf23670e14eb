"""A PyTorch model from wherever it is: torchvision, timm, a factory, an exported program, TorchScript."""

from __future__ import annotations

import difflib
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.hashing import code_version
from enginesmith.converters.core.live import is_made
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.records import Weights
from enginesmith.converters.core.source import Source
from enginesmith.converters.core.stamps import content_hash, unchanged
from enginesmith.converters.core.user_code import function_from_file, function_from_module, guarded
from enginesmith.converters.core.user_files import watch_imports
from enginesmith.converters.torch_models.example import Example, as_example
from enginesmith.converters.torch_models.exported_program import load_exported_program
from enginesmith.converters.torch_models.loaded import LoadedModel
from enginesmith.converters.torch_models.torchscript import load_torchscript
from enginesmith.converters.torch_models.weights import load_weights, reachable, read_pickle

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("torch", "torchvision", "timm", "transformers", "diffusers", "ultralytics")
"""Packages that models come from."""
LIVE = "live-module"
DETECTION = "torchvision.models.detection"
HOSTS = {"torchvision": "download.pytorch.org", "timm": "huggingface.co"}


def is_detector(model: nn.Module) -> bool:
    """Whether it is one of torchvision's detectors. Where their module was not imported it can be none, and is not imported
    for the question: that takes a second.
    """
    if DETECTION not in sys.modules:
        return False
    from enginesmith.converters.torch_models import detectors

    return detectors.is_detector(model)


class TorchModelOptions(Options):
    """Which model a stage loads. The hashes only make the content of the files part of the stage's key, `sha256` that of
    the code where the model is one of our own modules."""

    kind: str
    ref: str
    path: Path | None
    sha256: str
    weights: str
    weights_sha256: str
    trust: bool
    seed: int
    """Of random weights, and of whatever else the stage draws."""

    def load(self) -> LoadedModel:
        """Raises UserError."""
        files = {self.path: self.sha256} if self.path else {}
        if self.weights_sha256:
            files[Path(self.weights)] = self.weights_sha256
        with unchanged(files):
            return load_model(self.kind, self.ref, self.path, self.weights, self.trust, self.seed)


def model_options(recipe: Recipe, source: Source) -> dict[str, Any]:
    """What `TorchModelOptions` of a recipe's model are made of. Raises UserError for weights that are not there."""
    weights, digest = recipe.weights or "auto", ""
    if weights not in ("auto", "pretrained", "random"):
        path = Path(weights)
        if not path.is_file():
            raise UserError(f"no weights {path}; give a state dict's path, `pretrained` or `random`")
        weights, digest = str(path.resolve()), hash_file(path)
    return {
        "kind": source.kind,
        "ref": source.ref,
        "path": source.path,
        "sha256": content_hash(source.path) if source.path else code_version(source.ref.partition(":")[0]),
        "weights": weights,
        "weights_sha256": digest,
        "trust": recipe.trust or (source.kind == LIVE and source.path is not None and is_made(source.path)),
        "seed": recipe.seed,
    }


def load_model(kind: str, ref: str, path: Path | None, weights: str, trust: bool, seed: int) -> LoadedModel:
    """`weights` is `auto`, `pretrained`, `random` or a path. Raises UserError."""
    if kind in ("torchvision", "timm"):
        return _from_library(kind, ref, weights, trust, seed)
    if kind in ("hf", "ultralytics"):
        return _from_package(kind, ref, path, weights, trust, seed)
    if kind in ("exported-program", "torchscript"):
        assert path is not None
        if weights != "auto":
            raise UserError(f"{path.name} carries its weights; leave WEIGHTS out")
        origin = Weights(origin="model", detail=f"in {path.name}")
        if kind == "torchscript":
            return LoadedModel(load_torchscript(path, trust), origin)
        program = load_exported_program(path, trust)
        positional, named = program.example_inputs or ((), {})
        return LoadedModel(program.module(), origin, example=Example(tuple(positional), dict(named)))
    if weights == "pretrained":
        raise UserError("such a model comes with the weights that it has; give WEIGHTS a path, random, or leave it out")
    if kind == LIVE:
        assert path is not None
        watch_imports()
        _, module, inputs, kwargs = read_pickle(path, trust)
        loaded = _as_made(module, inputs, kwargs, path.stem)
    else:
        factory = function_from_file(path, ref) if path else function_from_module(ref)
        loaded = _call(factory, ref if path is None else f"{path}:{ref}", seed)
    return _with_weights(loaded, weights, trust)


def _from_library(library: str, name: str, weights: str, trust: bool, seed: int) -> LoadedModel:
    build = _torchvision(name) if library == "torchvision" else _timm(name)
    host, warning, unreachable = HOSTS[library], "", ""
    known: dict[str, Any] = {"library": library, "task": "classification", "pixels": "imagenet"}
    if weights in ("auto", "pretrained"):
        try:
            module, detail = build(True)
        except _NoPretrained as error:
            if weights == "pretrained":
                raise UserError(f"{library}:{name} has no pretrained weights: {error}") from None
            warning = f"{library} has no pretrained weights for {name}; the weights are random, with seed {seed}"
        except _Unreachable as error:
            if weights == "pretrained":
                raise UserError(f"can't fetch the pretrained weights of {library}:{name}: {error}") from None
            unreachable = host
            warning = (
                f"pretrained weights can't be had ({error}); the weights are random, with seed {seed}: "
                "the engine is only good for trying the road. Give WEIGHTS=path"
            )
        else:
            return LoadedModel(module.eval(), Weights(origin="pretrained", detail=detail), **known)
    import torch

    torch.manual_seed(seed)
    module, _ = build(False)
    loaded = LoadedModel(
        module.eval(),
        Weights(origin="random", detail=f"seed {seed}"),
        warnings=(warning,) if warning else (),
        unreachable=unreachable,
        **known,
    )
    return _with_weights(loaded, weights, trust)


def _from_package(kind: str, ref: str, path: Path | None, weights: str, trust: bool, seed: int) -> LoadedModel:
    try:
        if kind == "hf":
            from enginesmith.converters.torch_models.hub import load_hub_model as load
        else:
            from enginesmith.converters.torch_models.yolo import load_yolo as load
        return load(ref, path, weights, trust, seed)
    except ModuleNotFoundError as error:
        raise UserError(f"{kind}: models need the package {error.name}: pip install 'enginesmith[{kind}]'") from None


def _with_weights(loaded: LoadedModel, weights: str, trust: bool) -> LoadedModel:
    if weights not in ("auto", "pretrained", "random"):
        load_weights(loaded.module, Path(weights), trust)
        loaded.weights = Weights(origin="file", detail=weights)
    elif weights == "random":
        loaded.weights = Weights(origin="random", detail=loaded.weights.detail)
    return loaded


class _NoPretrained(Exception):
    pass


class _Unreachable(Exception):
    pass


Builder = Callable[[bool], tuple["nn.Module", str]]
"""Takes whether to load pretrained weights; returns the module, and the weights' name."""


def _torchvision(name: str) -> Builder:
    import torch
    from torchvision import models

    if name not in models.list_models():
        raise UserError(_unknown("torchvision", name, models.list_models()))

    def build(pretrained: bool) -> tuple[nn.Module, str]:
        if not pretrained:
            extra = (
                {"weights_backbone": None} if "weights_backbone" in _parameters(models.get_model_builder(name)) else {}
            )
            return models.get_model(name, weights=None, **extra), ""
        weights = models.get_model_weights(name).DEFAULT if len(models.get_model_weights(name)) else None
        if weights is None:
            raise _NoPretrained("torchvision lists none")
        local = (Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name).is_file()
        if not local and not reachable(HOSTS["torchvision"]):
            raise _Unreachable(f"{HOSTS['torchvision']} does not answer")
        try:
            return models.get_model(name, weights=weights), f"{type(weights).__name__}.{weights.name}"
        except OSError as error:  # urllib's errors are OSErrors
            raise _Unreachable(str(error)) from None
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise UserError(
                f"the downloaded weights {folder / Path(weights.url).name} are damaged; delete them ({first_line(error)})"
            ) from None

    return build


def _timm(name: str) -> Builder:
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise UserError(_unknown("timm", name, timm.list_models()))
    if tag and name not in (tagged := timm.list_pretrained(f"{architecture}.*")):
        raise UserError(_unknown("timm", name, tagged))

    def build(pretrained: bool) -> tuple[nn.Module, str]:
        if not pretrained:
            return timm.create_model(name, pretrained=False), ""
        if not timm.is_model_pretrained(name):
            raise _NoPretrained("timm lists none")
        # the hub's client looks into its cache by itself once it knows that there is no network
        import huggingface_hub.constants

        if not reachable(HOSTS["timm"]):
            huggingface_hub.constants.HF_HUB_OFFLINE = True
        try:
            return timm.create_model(name, pretrained=True), name
        except (OSError, RuntimeError) as error:
            raise _Unreachable(f"{HOSTS['timm']}: {first_line(error)}") from None

    return build


def _unknown(library: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"{library} has no model {name!r}" + (f"; nearest: {', '.join(near)}" if near else f" (it has {len(known)})")


def _parameters(function: Callable[..., Any]) -> set[str]:
    import inspect

    return set(inspect.signature(function).parameters)


def _call(factory: Callable[[], Any], name: str, seed: int) -> LoadedModel:
    import torch

    torch.manual_seed(seed)
    made = guarded(factory, f"the factory {name} failed")
    inputs = kwargs = None
    if isinstance(made, tuple) and len(made) in (2, 3):
        made, inputs, kwargs = (*made, None)[:3]
    if not isinstance(made, torch.nn.Module):
        raise UserError(
            f"the factory {name} returned {type(made).__name__}; it must return a torch.nn.Module, (module, inputs) or "
            "(module, args, kwargs)"
        )
    return _as_made(made, inputs, kwargs, name)


def _as_made(module: nn.Module, inputs: Any, kwargs: Any, name: str) -> LoadedModel:
    """A module that comes with its weights, and example inputs, which may be none. Raises UserError for other inputs."""
    try:
        example = as_example(module, inputs, kwargs)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    with suppress(NotImplementedError):  # an exported program's module is what it was exported as
        module.eval()
    return LoadedModel(module, Weights(origin="model", detail=f"as {name} made it"), example=example)
