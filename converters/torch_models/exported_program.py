"""Exported programs (.pt2): read before they are loaded, since PyTorch unpickles, imports and evaluates what one says.

A file is a zip archive with the graph as JSON and the tensors beside it. Without trust everything that PyTorch would take
for more than a number or a name is held against a list of what is known to compute; checks that PyTorch would generate
code from are left out, and so are traces of the code that the program comes from.
"""

from __future__ import annotations

import ast
import io
import json
import re
import traceback
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.torch_models.archive import plain_pickle, read_archive, untrusted, write_archive
from enginesmith.converters.torch_models.torchscript import OUTSIDE

if TYPE_CHECKING:
    import torch

GRAPH, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
DATA = ("data/weights/", "data/constants/")
CONFIG = "_config.json"
PLAIN = {"archive_format", "archive_version", "byteorder", "version", ".data/version", ".data/serialization_id"}
OPERATOR = re.compile(
    r"torch\.ops\.(aten|prim|prims|quantized|quantized_decomposed|torchvision)\.(\w+)(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map|map_impl|associative_scan|invoke_subgraph|strict_mode"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast|flex_attention)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|getitem|and_|or_|not_|xor|inv"
    r"|lshift|rshift|index)"
    r"|math\.(ceil|floor|trunc|sqrt|pow|log|log2|exp|fabs)"
    r"|torch\.(sym_\w+|_sym_\w+)"
)
NAME = re.compile(r"[\w.+-]*")
"""Whatever PyTorch may write into the code that it generates of a graph."""
POWERS = {"Pow", "PowByNatural", "FloatPow"}
SYMBOL = re.compile(r"[a-z]+\d+")
"""The name of a size."""
FREE = {"as_string", "as_strings"}
"""Keys of texts that are only ever arguments."""
EXPRESSIONS = {
    *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv"),
    *("LShift", "RShift", "FloatTrueDiv", "IntTrueDiv", "TruncToFloat", "TruncToInt"),
    *(
        "RoundToInt",
        "RoundDecimal",
        "ToFloat",
        "Identity",
        "Max",
        "Min",
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "And",
        "Or",
    ),
    *("Not", "Abs", "IsNonOverlappingAndDenseIndicator", "Piecewise", "floor", "ceiling", "log", "sqrt", "Integer"),
    *("Float", "Symbol", "Rational", "Add", "Mul", "Equality", "Unequality", "StrictLessThan", "LessThan"),
    *("StrictGreaterThan", "GreaterThan", "Infinity", "NegativeInfinity", "IntInfinity", "NegativeIntInfinity"),
}
TREES = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None} | {
    f"torch.fx.immutable_collections.immutable_{kind}" for kind in ("list", "dict")
}


def load_exported_program(path: Path, trust: bool) -> torch.export.ExportedProgram:
    """Raises UserError."""
    import torch

    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no exported program (torch.export.save): it is truncated, or something else")
    source = str(path) if trust else write_archive(_safe(path), "archive")
    try:
        return torch.export.load(source)
    except Exception as error:  # noqa: BLE001 - torch raises a dozen types for a file that is none
        traceback.print_exc()
        raise UserError(f"{path} is no exported program (torch.export.save): {first_line(error)}") from None


def _safe(path: Path) -> dict[str, bytes]:
    """The members of an archive of which none can run code."""
    members = read_archive(path)
    if "serialized_exported_program.json" in members:
        raise untrusted(path, "is in an old form (PyTorch 2.7 and before), whose pickles can run any code")
    if GRAPH not in members:
        raise UserError(f"{path} is no exported program (torch.export.save): it has no {GRAPH}")
    kept = {}
    for name, content in members.items():
        if name == GRAPH:
            kept[name] = json.dumps(_graph(path, _json(path, name, content))).encode()
        elif name == SAMPLES or name in tuple(f"{folder}model.pt" for folder in DATA):
            kept[name] = _again(path, name, content) if content else content
        elif name.startswith(DATA) and name.endswith(CONFIG):
            kept[name] = content
        elif name.startswith(DATA) or name in PLAIN:
            kept.setdefault(name, content)
        elif not name.startswith("extra/"):
            raise untrusted(path, f"holds {name}, which can be code")
    for name in [name for name in kept if name.startswith(DATA) and name.endswith(CONFIG)]:
        folder = name.rpartition("/")[0]
        for payload in _payloads(path, name, kept[name]):
            file = f"{folder}/{payload.get('path_name', '')}"
            if file.rpartition("/")[2].startswith(("custom_obj_", "opaque_obj_")):
                raise untrusted(path, f"holds a pickled object in {file}, which can run any code")
            if payload.get("use_pickle") and file in kept:
                kept[file] = _again(path, file, kept[file])
    return kept


def _again(path: Path, name: str, content: bytes) -> bytes:
    """A pickle of tensors, written anew: what is loaded later is what was looked at."""
    import torch

    out = io.BytesIO()
    torch.save(plain_pickle(path, name, content), out)
    return out.getvalue()


def _json(path: Path, name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise UserError(f"{path} is damaged: {name} is no JSON") from None


def _payloads(path: Path, name: str, content: bytes) -> Iterator[Mapping[str, Any]]:
    config = _json(path, name, content)
    found = config.get("config") if isinstance(config, dict) else None
    if not isinstance(found, dict) or not all(isinstance(payload, dict) for payload in found.values()):
        raise UserError(f"{path} is damaged: {name} names no tensors")
    yield from found.values()


def _graph(path: Path, program: Any) -> Any:
    """The program without what PyTorch makes code of. Raises UserError for what it would run or import."""
    if not isinstance(program, dict):
        raise UserError(f"{path} is damaged: {GRAPH} is no program")
    program = {**program, "guards_code": []}
    for symbol in program.get("range_constraints") or {}:
        if not _is_expression(symbol):
            raise untrusted(path, f"has the expression {symbol[:60]!r} of a size, which PyTorch evaluates")
    return _cleaned(path, program, "")


def _cleaned(path: Path, value: Any, key: str) -> Any:
    """JSON without the traces of the code that it was made from."""
    if isinstance(value, dict):
        for name in value:
            if not NAME.fullmatch(name) and not _is_expression(name):
                raise untrusted(path, f"has the name {name[:60]!r}, which PyTorch makes code of")
        return {name: {} if name == "metadata" else _cleaned(path, inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(path, inner, key) for inner in value]
    if not isinstance(value, str) or key in FREE:
        return value
    if (key in ("target", "as_operator") and "." in value) or value.startswith("#"):
        found = OPERATOR.fullmatch(value)
        if found is None or found[2] in OUTSIDE:
            raise untrusted(path, f"calls {value[:60]!r}, which is no operator that only computes")
    elif key == "expr_str":
        if not _is_expression(value):
            raise untrusted(path, f"has the expression {value[:60]!r} of a size, which PyTorch evaluates")
    elif key in ("in_spec", "out_spec"):
        if not _is_tree(value):
            raise untrusted(path, "takes or returns objects whose classes PyTorch would import")
    elif not NAME.fullmatch(value):
        raise untrusted(path, f"has the name {value[:60]!r}, which PyTorch makes code of")
    return value


def _is_expression(text: str) -> bool:
    """Is it arithmetic on symbols and numbers, which may be evaluated?"""
    if len(text) > 10_000:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(map(_is_arithmetic, ast.walk(tree)))


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        power = isinstance(node.func, ast.Name) and node.func.id in POWERS
        if power and len(node.args) == 2:
            return _is_small(node.args[1])
        return isinstance(node.func, ast.Name) and node.func.id in EXPRESSIONS
    if isinstance(node, ast.Name):
        return (
            node.id in EXPRESSIONS
            or node.id in POWERS
            or node.id in ("oo", "int_oo")
            or bool(SYMBOL.fullmatch(node.id))
        )
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) or (
            isinstance(node.value, str) and bool(SYMBOL.fullmatch(node.value))
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return _is_small(node.right)
    return isinstance(
        node,
        ast.Expression | ast.BinOp | ast.UnaryOp | ast.Compare | ast.BoolOp | ast.Load | ast.keyword
        | ast.operator | ast.unaryop | ast.cmpop | ast.boolop,
    )  # fmt: skip


def _is_small(node: ast.AST) -> bool:
    """Is it an exponent that no number grows out of the memory by, as with 9**9**9?"""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Integer" and node.args:
        node = node.args[0]
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) <= 8


def _is_tree(text: str) -> bool:
    """Is it the structure of plain containers of tensors?"""
    try:
        _, tree = json.loads(text)
        return _is_plain_tree(tree)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return text == ""


def _is_plain_tree(tree: Any) -> bool:
    if tree["type"] not in TREES:
        return False
    keys = json.loads(tree["context"]) if tree["context"] else None
    plain = keys is None or (
        isinstance(keys, list)
        and all(isinstance(key, int | str) and (not isinstance(key, str) or NAME.fullmatch(key)) for key in keys)
    )
    return plain and all(map(_is_plain_tree, tree["children_spec"]))
