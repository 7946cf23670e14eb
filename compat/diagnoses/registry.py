"""All diagnoses, read from the YAML files on first use."""

from __future__ import annotations

from functools import cache

from pydantic import TypeAdapter

from enginesmith.compat.diagnoses.diagnosis import Diagnosis
from enginesmith.compat.diagnoses.matcher import Matcher
from enginesmith.compat.tables import read_table

FILES = (
    "torch",
    "torch_tensorrt",
    "onnx",
    "simplifiers",
    "onnxruntime",
    "tvm",
    "tensorrt_parser",
    "tensorrt_types",
    "tensorrt_tactics",
    "tensorrt_builder",
    "tensorrt_runtime",
    "serving",
    "tensorrt_families",
    "hub",
    "environment",
    "around",
)
"""In the order in which they are tried: of several diagnoses that know a line, the first counts."""


@cache
def diagnoses() -> tuple[Diagnosis, ...]:
    """In the order in which they are tried: specific ones before generic ones."""
    found = [entry for name in FILES for entry in _read(name)]
    return tuple(sorted(found, key=lambda diagnosis: diagnosis.generic))


@cache
def matcher() -> Matcher:
    return Matcher(diagnoses())


@cache
def _by_id() -> dict[str, Diagnosis]:
    return {diagnosis.id: diagnosis for diagnosis in diagnoses()}


def get_diagnosis(name: str) -> Diagnosis:
    """Raises KeyError where there is none with this id."""
    return _by_id()[name]


def _read(name: str) -> list[Diagnosis]:
    content = read_table(__package__, name)
    entries = [{"tool": content["tool"], **entry} for entry in content["diagnoses"]]
    return TypeAdapter(list[Diagnosis]).validate_python(entries)
