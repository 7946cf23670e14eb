"""Minimal models of every operator, to ask an installed backend whether its table is right."""

from __future__ import annotations

import re
from functools import cache

import onnx

from enginesmith.compat.support.table import ANY
from enginesmith.compat.tables import read_table

OPSET = min(28, onnx.defs.onnx_opset_version())
"""What a probe speaks, unless its operator went earlier: the newest forms allow the most element types."""
KEYWORDS = {ANY: "float", "float32": "float", "float64": "double"}
"""Names of element types in ONNX's textual form, where they differ from the tables'."""
TYPED_INPUT = {"Where": 1, "OneHot": 2, "Loop": 2, "Scan": 0, "If": -1}
"""The input whose element type a table speaks of, where it is not the first; -1 for none."""
PROBED = ("float32", "float16", "bfloat16", "float64", "int8", "int32", "int64", "uint8", "bool")
"""Element types that a network input may have in any TensorRT."""


@cache
def _probes() -> dict[str, str]:
    text: dict[str, str] = read_table(__package__, "probes")
    return text


def operators() -> list[str]:
    """Every operator that has a probe: all of the default domain."""
    return list(_probes())


def element_types(op: str) -> tuple[str, ...]:
    """The types of PROBED that ONNX allows for the main input of `op`; `any` alone where its probe has one form."""
    if not re.search(r"\bT\b", _graph(op)):
        return (ANY,)
    schema = _schema(op)
    index = TYPED_INPUT.get(op, 0)
    parameters = schema.inputs if index >= 0 and schema.inputs else schema.outputs
    allowed = parameters[min(max(index, 0), len(parameters) - 1)].types
    return tuple(name for name in PROBED if f"tensor({KEYWORDS.get(name, name)})" in allowed)


def probe(op: str, element_type: str = ANY) -> onnx.ModelProto:
    """A model of `op` with its main input of `element_type`, float where it may be any.

    Raises KeyError for an operator without a probe.
    """
    body, keyword = _graph(op), KEYWORDS.get(element_type, element_type)
    floating = "float" in keyword or keyword == "double"
    for name, text in (("T", keyword), ("F", keyword if floating else "float"), ("FMOD", str(int(floating)))):
        body = re.sub(rf"\b{name}\b", text, body)
    text = f'<ir_version: 10, opset_import: ["" : {_opset(op)}]> probe {body}'
    return onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))


def _graph(op: str) -> str:
    written = _probes()[op]
    return written if "=>" in written else f"(T[2, 4, 6, 8] x) => (y) {{ y = {written} }}"


def _opset(op: str) -> int:
    forms = sorted(_schemas(op), key=lambda schema: schema.since_version)
    return forms[-1].since_version - 1 if forms[-1].deprecated else OPSET


def _schema(op: str) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(op, _opset(op), "")


@cache
def _schemas(op: str) -> list[onnx.defs.OpSchema]:
    return [schema for schema in onnx.defs.get_all_schemas_with_history() if schema.name == op and not schema.domain]
