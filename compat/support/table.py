"""A backend's table of operators: which it takes, from which version on, with which element types."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from enginesmith.compat.target import numbers

TYPES = (
    "float32", "float16", "bfloat16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "bool", "string", "float8", "float4", "int4",
)  # fmt: skip
"""Element types as the tables name them. `float8`, `float4` and `int4` each stand for ONNX's variants of that width."""
ANY, NONE = "any", "no"


class Release(BaseModel):
    """One version of a backend. `opset` is the newest one that it says it reads; `source` is where that is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opset: int | None = None
    source: str = Field(min_length=4)


class Entry(BaseModel):
    """What holds for an operator from one version on.

    `types` are those of its main input, None where the source names none; an empty tuple means not supported.
    `opsets` are the forms that a backend implements one by one, where it does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    types: tuple[str, ...] | None = None
    note: str = ""
    opsets: tuple[int, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        """`float32 int32 | a restriction`, or the fields."""
        if not isinstance(value, str):
            return value
        types, _, note = value.partition(" | ")
        return {"types": None if types == ANY else () if types == NONE else tuple(types.split()), "note": note}

    @field_validator("types")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        unknown = set(value or ()) - set(TYPES)
        if unknown:
            raise ValueError(f"no element types: {', '.join(sorted(unknown))}")
        return value


class Table(BaseModel):
    """`versions` and the entries of every operator are in ascending order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    versions: dict[str, Release] = Field(min_length=1)
    operators: dict[str, dict[str, Entry]]

    @model_validator(mode="after")
    def _ordered(self) -> Table:
        for name, versions in [("versions", list(self.versions)), *((op, list(e)) for op, e in self.operators.items())]:
            if versions != sorted(versions, key=numbers) or not set(versions) <= set(self.versions):
                raise ValueError(f"{self.backend}: {name}: versions out of order, or not in the table: {versions}")
        return self

    def nearest(self, version: str) -> str:
        """The table's newest version that is not after `version`; its oldest one where all are. Empty: the newest."""
        if not re.search(r"\d", version):
            return next(reversed(self.versions))
        wanted = numbers(version)
        fitting = [known for known in self.versions if numbers(known) <= wanted]
        return fitting[-1] if fitting else next(iter(self.versions))

    def entry(self, op: str, version: str) -> tuple[str, Entry] | None:
        """What holds for an operator at one of the table's own versions, and since which one."""
        found = [
            (since, entry) for since, entry in self.operators.get(op, {}).items() if numbers(since) <= numbers(version)
        ]
        return found[-1] if found and found[-1][1].types != () else None
