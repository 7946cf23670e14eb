"""The table of known miscompilations, as it stands in `table.yaml`."""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from enginesmith.compat.tables import read_table


class Miscompilation(BaseModel):
    """One entry. Immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")
    backend: str
    versions: str
    """The range of versions that are known to do it, such as `>=10.8,<=11.1`; empty for all. Of what is fixed it ends before
    the version that does it right."""
    gpus: tuple[str, ...] = ()
    """Compute capabilities, such as `sm_120`, where it is not seen on others; empty for all."""
    pattern: str
    """The function of `compat.miscompiles.patterns` that knows the graph."""
    wrong: str
    """What goes wrong, in one clause."""
    workaround: str
    rewrite: str = ""
    """The function of `compat.workarounds` that makes the workaround; empty where only the user can."""
    source: str
    status: Literal["open", "closed", "fixed"]
    """Of the report: `closed` says that it was, and not what became of it."""
    severity: Literal["warning", "error"] = "warning"
    """An error where the parser itself was seen to do it: such a graph is repaired like one that is refused."""
    example: str
    """A minimal model with the pattern, in ONNX's textual form."""


@cache
def table() -> tuple[Miscompilation, ...]:
    return tuple(TypeAdapter(list[Miscompilation]).validate_python(read_table(__package__, "table")))
