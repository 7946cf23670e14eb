"""What `MODEL` means: a zoo name, a library's model, a factory, or a file. Looks, but loads nothing."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from enginesmith.converters.core import live
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.source import Kind, Source
from enginesmith.pipeline.job.zoo import zoo

FILE_KINDS: dict[str, Kind] = {
    ".onnx": "onnx",
    ".pt2": "exported-program",
    ".pt": "torchscript",
    ".pth": "torchscript",
    ".ts": "torchscript",
    ".torchscript": "torchscript",
    live.MODULE: "live-module",
}
FORMS = (
    "a zoo name (see `enginesmith models`), torchvision:NAME, timm:NAME, hf:DIR or hf:ORG/NAME, ultralytics:NAME, "
    "path/to/file.py:factory, package.module:factory, or a .onnx, .pt2 or TorchScript file"
)
HUB_NAME = r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?"
"""`ORG/NAME`, with `@REVISION` if need be."""


def resolve_source(model: str) -> Source:
    """Raises UserError for a model that is none of the known forms, or whose file is missing."""
    if model in zoo():
        entry = zoo()[model]
        source = _resolve_form(entry.source)
        return source.model_copy(update={"name": model, "task": entry.task, "shape": entry.shape})
    return _resolve_form(model)


def _resolve_form(model: str) -> Source:
    prefix, _, rest = model.partition(":")
    if prefix in ("torchvision", "timm") and rest:
        return Source(kind="torchvision" if prefix == "torchvision" else "timm", ref=rest, name=_folder(rest))
    if prefix == "hf" and rest:
        return _hub(rest)
    if prefix == "ultralytics" and rest:
        path = _existing(Path(rest)) if rest.endswith(".pt") else None
        return Source(kind="ultralytics", ref="" if path else rest, path=path, name=_folder(Path(rest).stem))
    suffix = Path(model).suffix.lower()
    if suffix in FILE_KINDS:
        return Source(kind=FILE_KINDS[suffix], ref="", path=_existing(Path(model)), name=_folder(Path(model).stem))
    file, _, factory = model.rpartition(":")
    if file.endswith(".py"):
        _check_identifier(factory, model)
        return Source(kind="factory-file", ref=factory, path=_existing(Path(file)), name=_folder(factory))
    if model.endswith(".py"):
        raise UserError(f"{model} is a Python file; say which function makes the model: {model}:factory")
    if re.fullmatch(r"[A-Za-z_][\w.]*", file):
        _check_identifier(factory, model)
        return Source(kind="factory-module", ref=f"{file}:{factory}", name=_folder(factory))
    near = difflib.get_close_matches(model, zoo(), n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else f"the zoo has {', '.join(zoo())}"
    raise UserError(f"unknown model {model!r} ({hint}); MODEL is {FORMS}")


def _hub(rest: str) -> Source:
    """A folder as `save_pretrained` writes it, or a name on the hub; behind `#` a part of the model."""
    place, mark, part = rest.partition("#")
    folder = Path(place)
    if folder.is_dir():
        name = _folder(f"{folder.resolve().name}_{part}" if part else folder.resolve().name)
        return Source(kind="hf", ref=mark + part, path=folder.resolve(), name=name)
    if not re.fullmatch(HUB_NAME, place):
        raise UserError(f"no folder {place}; give hf:DIR with a config.json, or hf:ORG/NAME")
    return Source(kind="hf", ref=rest, name=_folder(rest.rpartition("/")[2]))


def _existing(path: Path) -> Path:
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=3)
        raise UserError(f"no file {path}" + (f"; nearest: {', '.join(near)}" if near else "; give an existing path"))
    return path.resolve()


def _check_identifier(factory: str, model: str) -> None:
    if not factory.isidentifier():
        raise UserError(f"{model!r}: {factory!r} is no function name; write path/to/file.py:factory")


def _folder(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"
