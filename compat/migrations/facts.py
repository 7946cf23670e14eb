"""The tables of facts: each an option of a tool, or a name of its API."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from enginesmith.compat.tables import read_table

Status = Literal["same", "renamed", "no effect", "deprecated", "changed", "removed"]
"""What became of it in TensorRT 11. `renamed`: the old spelling is gone. `changed`: it stands, and means something else."""
TOOLS = ("trtexec", "polygraphy", "python", "onnx2trt")


class Fact(BaseModel):
    """One entry. Immutable. `names` are the option and its aliases; of Python `Class.name` as well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    takes: Literal["nothing", "value", "values"] = "nothing"
    status: Status = "same"
    since: str = ""
    """The first release that has it; empty where that is older than 7."""
    deprecated: str = ""
    last: str = ""
    """The last release that has it; empty where 11 does."""
    now: str = ""
    """What it is in TensorRT 11."""
    ours: str = ""
    """What Enginesmith has for it."""
    means: str = ""
    """What it sets: one of MEANINGS, with `=VALUE` where the option says it by itself."""
    source: str = Field(pattern=r"^https://")

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def means_value(self) -> tuple[str, str] | None:
        """The meaning and its own value, None for an option that sets nothing of a recipe."""
        key, _, value = self.means.partition("=")
        return (key, value) if key else None


MEANINGS = {
    "model": "the file of the network",
    "foreign": "a network in a format that TensorRT has no parser for any more",
    "engine": "where the engine is written",
    "load": "an engine that is there already",
    "precision": "fp16, bf16, int8, fp8, int4, fp4, or best",
    "typed": "the network's own types hold",
    "min": "smallest sizes",
    "opt": "sizes to optimize for",
    "max": "largest sizes",
    "profile": "sizes in our own grammar",
    "batch": "the largest batch of a network without a dimension for it",
    "implicit": "a network without a dimension for the batch",
    "cache": "a calibration cache",
    "calibrator": "how int8 ranges are found",
    "data": "a function that gives calibration data",
    "constraints": "whether layers keep the types that they are given",
    "layers": "types of single layers",
    "sparse": "sparse kernels",
    "measure": "seconds to time an engine for",
    "untimed": "no timing",
    "samples": "inputs to run on",
    "seed": "of random inputs",
    "opset": "of the export",
}


@cache
def facts(tool: str) -> dict[str, Fact]:
    """The facts about one of TOOLS by name, aliases included. Raises KeyError for another one."""
    if tool not in TOOLS:
        raise KeyError(tool)
    content = _content(tool)
    found: dict[str, Fact] = {}
    for group in content["groups"]:
        for fact in _group(group, content["source"]):
            if unknown := {fact.means.partition("=")[0]} - {"", *MEANINGS}:
                raise ValueError(f"{tool}: {fact.name} means {unknown}, which is none of {sorted(MEANINGS)}")
            for name in fact.names:
                if found.setdefault(name, fact) is not fact:
                    raise ValueError(f"{tool}: {name} stands twice")
    return found


@cache
def _content(tool: str) -> dict[str, Any]:
    content: dict[str, Any] = read_table(__package__, tool)
    return content


def _group(group: dict[str, Any], source: str) -> list[Fact]:
    """What is said of a group holds for each of its options that says nothing else; `also` are an option's aliases."""
    shared = {key: value for key, value in group.items() if key != "options"}
    made = []
    for name, own in group["options"].items():
        fields = {"source": source, **shared, **(own or {})}
        made.append(Fact(names=(name, *fields.pop("also", ())), **fields))
    return made


@cache
def same_names() -> dict[str, frozenset[str]]:
    """Of each class of TensorRT's Python API what it has in 11.1; what the facts say of a name goes before."""
    content = _content("python")["same"]
    return {name: frozenset(words.split()) for name, words in content.items()}
