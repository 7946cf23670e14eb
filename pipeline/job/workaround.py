"""A recipe with what makes a wrong engine agree, to build it so."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import yaml

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.source import LIVE
from enginesmith.pipeline.job.finished import Run

FILE = "workaround.yaml"


def write_recipe(run: Run, keys: Mapping[str, str | bool], folder: Path) -> str:
    """Write the build's recipe with the `keys` over it into the folder, and return the command that builds it; with a live
    module only the keys, which go to `enginesmith.build` beside it. Raises UserError where it can't be written.
    """
    before = {key: value for key, value in run.manifest.recipe.items() if key not in ("out", "trust")}
    if str(before.get("model", "")).startswith(LIVE):
        del before["model"]
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({**before, **keys}, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't write {path} ({error.strerror}); give another folder with --out") from None
    trust = ["--trust"] if run.manifest.recipe.get("trust") else []
    return shlex.join(["enginesmith", "build", "-f", str(path), *trust])
