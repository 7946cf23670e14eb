"""What may run without being asked for: engines that were built here, and the user's own code.

An engine is a library of machine code, and a recipe or a manifest may name any Python file. Both come from strangers too.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from platformdirs import user_state_path

from enginesmith.converters.backends import BACKENDS, get_backend
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.recipe import Recipe

CODE = ("model", "calib", "eval", "metric", "finetune")
"""Fields of a recipe that may name a function."""
LIBRARIES = ("torchvision", "timm", "hf", "ultralytics")
"""Of models that are named `LIBRARY:NAME`."""


def _ledger() -> Path:
    """The user's folder with an empty file for each engine that was built here, called by its SHA-256."""
    return user_state_path("enginesmith") / "engines"


def note_built(sha256: str) -> None:
    """From now on the engine of that hash runs without being trusted."""
    with suppress(OSError):  # a home that is not there, or can't be written: then it needs trust
        _ledger().mkdir(parents=True, exist_ok=True)
        (_ledger() / sha256).touch()


def was_built_here(engine: Path) -> bool:
    return (_ledger() / hash_file(engine)).exists()


def blocked(backend: str, target: str, engine: Path, trust: bool) -> str:
    """Why an engine's file can't run here; empty where it can. `target` is empty where nothing says it."""
    if not engine.is_file():
        return "its file is not here"
    if backend not in BACKENDS:
        return "its backend is a plug-in that is not installed"
    if target and (reason := get_backend(backend).runnable(target)):
        return reason
    if not trust and not was_built_here(engine):
        return "it was not built here, and runs code of whoever built it; if you trust it, give --trust"
    return ""


def strange_code(recipe: Recipe, file: Path, named: set[str]) -> str:
    """The first function that a recipe's `file` names (in the fields `named`) and that is not the user's own; empty if none.

    The user's own are those of the folder where they are and below, in a recipe that lies in that folder itself.
    """
    here = Path.cwd().resolve()
    for field in CODE:
        text = str(getattr(recipe, field))
        place, _, function = text.rpartition(":")
        if field not in named or not place or not function or place in LIBRARIES:
            continue
        code = Path(place) if place.endswith((".py", ".function")) else Path(place.partition(".")[0])
        found = [path for path in (code, code.with_name(f"{code.name}.py")) if path.exists()]
        own = file.resolve().parent == here and any(path.resolve().is_relative_to(here) for path in found)
        if not own:
            return f"{field}: {text}"
    return ""
