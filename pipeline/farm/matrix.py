"""The matrix: what people write into `matrix.yaml`, with every key and every name in it checked."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.quantities import SECONDS, quantity
from enginesmith.converters.core.recipe import Precision, Recipe
from enginesmith.pipeline.job.yaml_files import read_mapping

AXES = ("model", "backend", "target", "precision", "shape")
"""What a cell is one of each of."""
OWN = ("out", "jobs", *(axis for axis in AXES if axis != "model"))
"""Fields of the recipe that the farm fills in."""
OPTIONS = tuple(name for name in Recipe.model_fields if name not in (*OWN, "model", "trust"))
"""Fields of the recipe that a matrix may set: `trust` is for who runs it to say."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
"""One name, or several."""
Options = dict[str, Any]
"""Fields of the recipe."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Row(_Part):
    """A model, as `{model: resnet50, name: r50, shapes: [...], priority: 5, weights: random}`: what is no key of a row is
    one of the recipe. A row that is a text is the model."""

    model: str
    name: str = ""
    """In cells' names and folders; the model where left out."""
    shapes: Names | None = None
    priority: int = 0
    options: Options = {}


class Where(_Part):
    """Cells, by patterns of their axes: each axis that is given must match one of its patterns."""

    model: Names | None = None
    backend: Names | None = None
    target: Names | None = None
    precision: Names | None = None
    shape: Names | None = None

    def patterns(self) -> Iterable[tuple[str, list[str]]]:
        return ((axis, given) for axis in AXES if (given := getattr(self, axis)) is not None)

    def holds(self, cell: Mapping[str, str]) -> bool:
        return all(any(fnmatchcase(cell[axis], each) for each in given) for axis, given in self.patterns())


class Priority(Where):
    """Cells that come earlier than others: those of the largest number first; several add up."""

    priority: int


class Matrix(_Part):
    """What to build: every combination that isn't excluded."""

    name: str = ""
    """The file's where left out."""
    models: Annotated[list[Row], Field(min_length=1)]
    backends: Names = ["auto"]
    targets: Names = ["auto"]
    precisions: Annotated[list[Precision], BeforeValidator(_listed), Field(min_length=1)] = ["fp32"]
    shapes: Names | None = None
    """For all models; each model's own where left out."""
    recipe: Options = {}
    """For all cells."""
    exclude: list[Where] = []
    priorities: list[Priority] = []
    time: float | None = Field(None, gt=0)
    """Seconds that a run may take: after them no stage is begun; the next run goes on."""
    build_only: bool = False
    """On a cluster: engines of targets that no node has are built, and not run."""
    attempts: int = Field(2, ge=1)
    """Times that a stage is begun that crashes its process, before it is given up."""

    @field_validator("models", mode="before")
    @classmethod
    def _rows(cls, value: object) -> object:
        listed = _listed(value)
        return [_row(each) for each in listed] if isinstance(listed, list) else listed

    @field_validator("time", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        return quantity(value, {"": 1.0, **SECONDS}, "2h", "time") if isinstance(value, str) else value


def _row(given: object) -> object:
    if isinstance(given, str):
        return {"model": given, "name": given}
    if not isinstance(given, dict):
        return given
    own = {key: value for key, value in given.items() if key in Row.model_fields and key != "options"}
    return {"name": given.get("model"), **own, "options": {k: v for k, v in given.items() if k not in own}}


def read_matrix(file: Path) -> Matrix:
    """Raises UserError, in one line that says where, for whatever is wrong within the file."""
    values = read_mapping(file, "matrix", "models: [resnet50]")
    try:
        matrix = Matrix.model_validate(values)
        _check_options(matrix)
        _check_names(matrix)
    except ValidationError as error:
        raise UserError(f"{file}: {_told(error)}") from None
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    return matrix if matrix.name else matrix.model_copy(update={"name": file.stem})


def _told(error: ValidationError) -> str:
    """The first thing that is wrong: a key that nobody knows, with the nearest, before one that is missing."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    *place, last = first["loc"] or ("",)
    if first["type"] == "extra_forbidden":
        kinds: dict[str, type[BaseModel]] = {"priorities": Priority, "exclude": Where}
        kind = kinds.get(str(place[0]), Matrix) if place else Matrix
        return _within(place, str(unknown("key", str(last), kind.model_fields)))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return _within(place, f"{last} is missing")
    if place and place[0] == "precisions":
        return str(unknown("precision", str(first["input"]), Precision.__args__))  # type: ignore[attr-defined]
    return f"{_within([*place, last], '')} = {reprlib.repr(first['input'])}: {message}"


def _within(place: Iterable[object], text: str) -> str:
    where = "".join(f"[{each + 1}]" if isinstance(each, int) else f".{each}" for each in place).removeprefix(".")
    return ": ".join(filter(None, (where, text)))


def _check_options(matrix: Matrix) -> None:
    """Raises UserError for keys that no recipe has, and for those that aren't a matrix's to say."""
    rows = [(f"models[{number}]", row.options) for number, row in enumerate(matrix.models, 1)]
    for where, options in (("recipe", matrix.recipe), *rows):
        for key in options:
            if key in OPTIONS:
                continue
            if key == "trust":
                raise UserError(f"{where}: it asks to be trusted; that is for who runs it to say: give --trust")
            if key in OWN or key == "model":
                raise UserError(f"{where}: {key} is for the matrix to say, not for a recipe within it")
            known = (*OPTIONS, *Row.model_fields) if where.startswith("models") else OPTIONS
            raise UserError(f"{where}: {unknown('key', key, known)}")


def _check_names(matrix: Matrix) -> None:
    """Raises UserError for two of one name, and for an exclusion or a priority that is about nothing."""
    seen: set[str] = set()
    for row in matrix.models:
        if row.name in seen:
            raise UserError(
                f"two models are called {row.name!r}; give one of them a name of its own: {{model: …, name: …}}"
            )
        seen.add(row.name)
    lists: list[tuple[str, Sequence[str]]] = [
        ("backends", matrix.backends),
        ("targets", matrix.targets),
        ("precisions", matrix.precisions),
        ("shapes", matrix.shapes or []),
        *((f"shapes of {row.name}", row.shapes or []) for row in matrix.models),
    ]
    for axis, given in lists:
        for each in given:
            if given.count(each) > 1:
                raise UserError(f"{axis}: {each!r} stands twice")
