"""What a recipe asks of the training before the export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.user_code import check_defined
from enginesmith.converters.data.datasets import data_sources
from enginesmith.converters.data.options import DataOptions
from enginesmith.converters.stages.finetune import FinetuneOptions
from enginesmith.pipeline.job.recipe import Recipe
from enginesmith.pipeline.job.source import Source

INTEGERS = ("int8", "auto")
NONE = "none"
"""What `finetune` is where pruning is all."""
DISTILLED = 512
"""Examples that a model learns from where the user gives no function, at most."""
FORM = "give path/to/file.py:function, or package.module:function: a function that trains the model that it is given"


def finetune_options(recipe: Recipe, source: Source, model: dict[str, Any]) -> FinetuneOptions | None:
    """None where nothing is to be trained or pruned. `model` are the options that say how it is loaded.

    Raises UserError for requests that don't fit together.
    """
    if source.kind in ("onnx", "exported-program", "torchscript"):
        for flag in ("finetune", "qat"):
            if getattr(recipe, flag):
                raise UserError(f"{flag} trains PyTorch models, and {source.name} is a finished graph")
        if source.kind == "onnx":
            return None  # `sparse` then only says that its weights are
        if recipe.sparse:
            raise UserError(f"sparse prunes PyTorch models, and {source.name} is a finished graph")
    if not (recipe.qat or recipe.sparse):
        if recipe.finetune:
            raise UserError("finetune trains for int8 or for sparse weights; give --qat, --sparse or both")
        return None
    if recipe.qat and recipe.finetune == NONE:
        raise UserError("qat trains with int8's rounding: with --finetune none it has nothing to do")
    if recipe.qat and recipe.precision not in INTEGERS:
        raise UserError(f"qat trains for int8, and the precision is {recipe.precision}; give --precision int8 or auto")
    if recipe.qat and recipe.equalize:
        raise UserError("equalize changes the weights that qat trains to be rounded; leave one of them out")
    function, path = _locate(recipe.finetune)
    data = None
    if not recipe.finetune:
        sources = data_sources(recipe.calib, "calibration")
        data = DataOptions(spec=recipe.calib, sources=sources, role="calibration", examples=DISTILLED, seed=recipe.seed)
    return FinetuneOptions(
        **model,
        seed=recipe.seed,
        function=function,
        function_path=path,
        function_sha256=hash_file(path) if path else "",
        data=data,
        qat=recipe.qat,
        sparse=recipe.sparse,
    )


def _locate(spec: str) -> tuple[str, Path | None]:
    """The function, and the file that it is in; of a module, `module:function` and no file."""
    if spec in ("", NONE):
        return "", None
    file, _, function = spec.rpartition(":")
    if not file or not function.isidentifier():
        raise UserError(f"finetune = {spec!r} names no function; {FORM}")
    if not file.endswith(".py"):
        return spec, None
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"finetune = {spec!r}: there is no file {file}; {FORM}")
    check_defined(path, function)
    return function, path.resolve()
