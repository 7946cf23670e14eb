"""From a matrix to its cells: each a recipe with its plan."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from enginesmith.converters.backends import AUTO, BACKENDS, buildable, get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.hashing import hash_value
from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline.farm.matrix import Matrix, Row
from enginesmith.pipeline.job.plan import Plan, make_plan
from enginesmith.pipeline.job.recipe import make_recipe
from enginesmith.pipeline.job.trusted import strange_code


@dataclass(frozen=True)
class Cell:
    """One engine to build. `target` is canonical; `shape` is empty for the model's own."""

    model: str
    """The name of its row."""
    backend: str
    target: str
    precision: str
    shape: str
    recipe: Recipe
    plan: Plan
    priority: int = 0

    @property
    def axes(self) -> dict[str, str]:
        return {axis: getattr(self, axis) for axis in ("model", "backend", "target", "precision", "shape")}

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.model, self.shape, self.precision, self.backend, self.target)))


@dataclass(frozen=True)
class Cells:
    """What a matrix comes to. `left_out` are combinations that there can't be, each with its reason."""

    matrix: Matrix
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...]


def make_cells(matrix: Matrix, file: Path, out: Path, *, trust: bool = False) -> Cells:
    """The cells of a matrix, each planned, with its results in a folder below `out`.

    Raises UserError, in one line that says of which cell, for all that can be seen to be wrong before anything runs.
    """
    try:
        engines = _engines(matrix)
        axes = list(_combinations(matrix, engines))
        _check_patterns(matrix, axes)
        cells, left_out = [], []
        for row, chosen in axes:
            if any(where.holds(chosen) for where in matrix.exclude):
                continue
            if lacking := get_backend(chosen["backend"]).lacks(chosen["precision"], chosen["target"]):
                left_out.append(lacking)
                continue
            cells.append(_cell(matrix, row, chosen, file, out, trust))
        if not cells:
            raise UserError("no combination is left to build" + (f": {left_out[0]}" if left_out else ""))
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    return Cells(matrix, tuple(cells), tuple(dict.fromkeys(left_out)))


def _engines(matrix: Matrix) -> list[tuple[str, str, str]]:
    """Backend, target as given, canonical target. A target goes to every backend that knows it; a backend that gets none
    takes its own, as in a build."""
    names = buildable() if matrix.backends == [AUTO] else matrix.backends
    backends = [get_backend(name) for name in names]
    for backend in backends:
        if reason := backend.available():
            raise UserError(f"backend {backend.name} can't build here: {reason}")
    if not backends:
        raise UserError(f"this machine can build for no backend; there are {', '.join(BACKENDS)}")
    found: dict[tuple[str, str], str] = {}
    for target in matrix.targets:
        refusals = []
        for backend in backends:
            try:
                found.setdefault((backend.name, backend.resolve_target(target)), target)
            except UserError as error:
                refusals.append(str(error))
        if len(refusals) == len(backends):
            raise UserError(f"targets: {'; '.join(refusals)}")
    for backend in backends:
        if all(name != backend.name for name, _ in found):
            found[backend.name, backend.resolve_target("auto")] = "auto"
    return [(backend, given, target) for (backend, target), given in found.items()]


def _combinations(matrix: Matrix, engines: Sequence[tuple[str, str, str]]) -> Iterator[tuple[Row, dict[str, str]]]:
    for row in matrix.models:
        for shape in row.shapes or matrix.shapes or [""]:
            for precision in matrix.precisions:
                for backend, _, target in engines:
                    values = (row.name, backend, target, precision, shape)
                    yield row, dict(zip(("model", "backend", "target", "precision", "shape"), values, strict=True))


def _check_patterns(matrix: Matrix, axes: Sequence[tuple[Row, dict[str, str]]]) -> None:
    """Raises UserError for an exclusion or a priority with a pattern that no combination meets."""
    for kind, parts in (("exclude", matrix.exclude), ("priorities", matrix.priorities)):
        for number, part in enumerate(parts, 1):
            if not list(part.patterns()):
                raise UserError(f"{kind}[{number}]: it names no model, backend, target, precision or shape")
            for axis, patterns in part.patterns():
                known = list(dict.fromkeys(chosen[axis] for _, chosen in axes))
                for pattern in patterns:
                    if not any(fnmatchcase(each, pattern) for each in known):
                        near = difflib.get_close_matches(pattern, known, n=1)
                        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:20])}"
                        raise UserError(f"{kind}[{number}]: no {axis} is {pattern!r}; {hint}")


def _cell(matrix: Matrix, row: Row, chosen: dict[str, str], file: Path, out: Path, trust: bool) -> Cell:
    options = {**matrix.recipe, **row.options}
    folder = Path(_slug(row.name), *([_slug(chosen["shape"])] if chosen["shape"] else []))
    try:
        recipe = make_recipe(
            {
                **options,
                "model": row.model,
                "backend": chosen["backend"],
                "target": chosen["target"],
                "precision": chosen["precision"],
                "shape": chosen["shape"] or None,
                "trust": trust,
                # that of fp32 beside the others, whose engine's size is told there
                "out": out / folder / f"{chosen['backend']}_{_slug(chosen['target'])}" / chosen["precision"],
            }
        )
        if not trust and (code := strange_code(recipe, file, {"model", *options})):
            raise UserError(
                f"it names code that is not of the folder where you are ({code}); if you trust it, give --trust"
            )
        # a matrix serves many builds: what one of them has no use for isn't refused
        recipe.model_fields_set.intersection_update({"timeout"})
        plan = make_plan(recipe)
    except UserError as error:
        raise UserError(f"model {row.name}: {error}") from None
    priority = row.priority + sum(part.priority for part in matrix.priorities if part.holds(chosen))
    return Cell(**chosen, recipe=recipe, plan=plan, priority=priority)


def _slug(text: str) -> str:
    """A folder's name: another one for every text."""
    plain = re.sub(r"[^\w.+-]+", "_", text).strip("._") or "cell"
    return plain if plain == text else f"{plain[:80]}-{hash_value(text)[:6]}"
