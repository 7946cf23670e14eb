"""The stage that searches for better schedules of the kernels in a TVM module."""

from __future__ import annotations

from collections.abc import Sequence

from enginesmith.converters.backends.base import Backend
from enginesmith.converters.backends.tvm.tuning.database import Database
from enginesmith.converters.backends.tvm.tuning.machine import parse_tracker, reach
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.stages.tune import TuneOptions
from enginesmith.pipeline.job.environment import machine_id
from enginesmith.pipeline.job.hashing import code_version
from enginesmith.pipeline.job.recipe import Recipe

TVM = "tvm"
KERNELS = "enginesmith.converters.backends.tvm.kernels.workload"
"""What kernels and schedules are is decided by this module and those that it imports."""


def check_tuning(recipe: Recipe, engines: Sequence[tuple[Backend, str]]) -> None:
    """Raises UserError for a search that makes no sense, or that can't measure."""
    if not recipe.tune:
        for name in ("tuners", "tune_database"):
            if getattr(recipe, name):
                raise UserError(f"{name} is for a search: give tune too, such as --tune 10m")
        return
    targets = [target for backend, target in engines if backend.name == TVM]
    if not targets:
        names = ", ".join(dict.fromkeys(backend.name for backend, _ in engines))
        raise UserError(f"tune is for TVM modules, and the backend is {names}: give --backend tvm, or leave --tune out")
    if not recipe.kernels:
        raise UserError("tune searches for schedules of our kernels, and --no-kernels leaves them out")
    if recipe.tuners:
        reach(parse_tracker(recipe.tuners))
        return
    for backend, target in engines:
        if backend.name == TVM and (reason := backend.runnable(target)):
            raise UserError(
                f"can't tune for {target} here: {reason}; "
                "measure on such machines with --tuners HOST:PORT/KEY, or leave --tune out"
            )


def tune_options(recipe: Recipe, backend: Backend, target: str) -> TuneOptions | None:
    """None where nothing is to be searched for. Raises UserError for a database of something else."""
    if not recipe.tune or backend.name != TVM:
        return None
    options = TuneOptions(
        backend=TVM,
        target=target,
        seconds=recipe.tune,
        threads=recipe.threads,
        winograd=recipe.winograd,
        tuners=recipe.tuners,
        database=recipe.tune_database and recipe.tune_database.absolute(),
        code=code_version(KERNELS),
        machine="" if recipe.tuners else machine_id(),
    )
    if options.database is not None:
        Database(options.database, options.header)
    return options
