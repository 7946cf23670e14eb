"""What single uses of TensorRT's Python API set: files, sizes, types of layers, calibrators."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from enginesmith.compat.migrations import sizes
from enginesmith.compat.migrations.constants import DEPTH, Constants, Scope, dotted
from enginesmith.compat.migrations.facts import Fact
from enginesmith.compat.migrations.script_arguments import UNKNOWN

Said = tuple[tuple[str, str], ...]
CACHES = re.compile(
    r".*\.(cache|calib|calibration|table|flatbuffer|cal)|.*(calib|cache)[^/]*\.(bin|txt|data)", re.IGNORECASE
)
"""Names of files that hold ranges."""
OPENERS = {"os.open", "io.open", "codecs.open", "gzip.open"}
READS = {"read", "read_bytes", "SerializeToString"}
LAYER_TYPES = {
    "CONVOLUTION": "Conv", "DECONVOLUTION": "ConvTranspose", "SOFTMAX": "Softmax", "MATRIX_MULTIPLY": "MatMul",
    "FULLY_CONNECTED": "Gemm", "POOLING": "*Pool", "REDUCE": "Reduce*", "NORMALIZATION": "*Normalization", "TOPK": "TopK",
    "GATHER": "Gather*", "RESIZE": "Resize", "CONCATENATION": "Concat",
}  # fmt: skip
"""Layers of TensorRT that are one operator of ONNX."""
TYPES = {
    "float32": "fp32", "float": "fp32", "half": "fp16", "float16": "fp16", "int8": "int8", "bfloat16": "bf16", "bf16": "bf16",
}  # fmt: skip
ONLY_RUNNING = "only running it would tell"


def called(
    call: ast.Call, fact: Fact, scope: Scope, constants: Constants, tests: Sequence[ast.expr]
) -> tuple[Said | None, str]:
    """What a call sets, None for what the fact says itself; and why it could not be read, empty where it could."""
    own = fact.name.rpartition(".")[2]
    if own in ("set_shape", "set_shape_input"):
        return _profile(call, own, scope, constants)
    if own == "create_network":
        return _network(call, scope, constants), ""
    if fact.means == "model":
        path = _path(call.args[0], scope, constants) if call.args else UNKNOWN
        if not isinstance(path, str):
            return (("model", ""),), f"which file is parsed: {ONLY_RUNNING}"
        return (("model", path),), ""
    if fact.means == "layers":
        return layers(call.args[-1] if call.args else None, tests, scope, constants), ""
    if fact.means == "foreign":
        path = next(
            (value for value in (constants.value(each, scope) for each in call.args) if isinstance(value, str)), ""
        )
        return (("foreign", path),), ""
    if fact.means == "load":
        return (("load", ""),), ""
    if fact.means == "batch":
        return (), ""
    return None, ""


def sizes_of(value: Any) -> str | None:
    """One input's fixed sizes, without its name; None where they are not known."""
    if not isinstance(value, tuple) or not all(isinstance(size, int) and size > 0 for size in value):
        return None
    return sizes.written({"": (value, value, value)})


def layers(value: ast.expr | None, tests: Sequence[ast.expr], scope: Scope, constants: Constants) -> Said:
    """`PATTERN:TYPE` for each pattern that the conditions around name; none where they name none."""
    dtype = TYPES.get(dotted(value).rpartition(".")[2].lower(), "") if value is not None else ""
    patterns = [pattern for test in tests for pattern in _patterns(test, scope, constants)]
    return tuple(("layers", f"{pattern}:{dtype or '?'}") for pattern in dict.fromkeys(patterns)) or (
        ("layers", f":{dtype or '?'}"),
    )


def calibrator(value: ast.expr | None, scope: Scope, constants: Constants) -> Said:
    """The files of ranges that a calibrator is made with."""
    found = constants.expression(value, scope) if value is not None else None
    if not isinstance(found, ast.Call):
        return (("calibrator", ""),)
    caches = []
    for name, argument in [
        *(("", each) for each in found.args),
        *((each.arg or "", each.value) for each in found.keywords),
    ]:
        known = constants.value(argument, scope)
        if isinstance(known, str) and (CACHES.fullmatch(known) or "cache" in name):
            caches.append(("cache", known))
    return (("calibrator", ""), *caches[:1])


def caches_in(node: ast.ClassDef, constants: Constants) -> Iterator[str]:
    """The files of ranges that a calibrator's own text names."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and CACHES.fullmatch(each.value):
            yield each.value
            return
        if isinstance(each, ast.Call) and dotted(each.func) == "open" and each.args:
            known = constants.value(each.args[0], constants.scopes.get(each))
            if isinstance(known, str) and CACHES.fullmatch(known):
                yield known
                return


def _profile(call: ast.Call, own: str, scope: Scope, constants: Constants) -> tuple[Said, str]:
    keywords = {each.arg: each.value for each in call.keywords if each.arg}
    place = ("input", "min", "opt", "max")
    given = {**dict(zip(place, call.args, strict=False)), **keywords}
    name = constants.value(given.get("input"), scope)
    three = [constants.value(given.get(each), scope) for each in place[1:]]
    if not all(isinstance(each, tuple) and all(isinstance(size, int) for size in each) for each in three):
        return (), f"its sizes: {ONLY_RUNNING}"
    name = name if isinstance(name, str) else ""
    try:
        if own == "set_shape_input":
            low, best, high = (each[0] for each in three if len(each) == 1)
            return (("profile", f"{name}={low}..{best}..{high}"),), ""
        return (("profile", sizes.written(sizes.merge(*({name: each} for each in three)))),), ""
    except ValueError as error:
        return (), str(error)


def _network(call: ast.Call, scope: Scope, constants: Constants) -> Said:
    arguments = [*call.args, *(each.value for each in call.keywords)]
    if not arguments:
        return (("implicit", ""),)
    known = constants.value(arguments[0], scope)
    return (("implicit", ""),) if known == 0 else ()


def _path(node: ast.expr, scope: Scope, constants: Constants, depth: int = 0) -> Any:
    """The file that an expression's bytes are from, or that it names."""
    if depth > DEPTH:
        return UNKNOWN
    known = constants.value(node, scope)
    if isinstance(known, str):
        return known
    if isinstance(node, ast.Call):
        name = dotted(node.func)
        own = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if own in READS or (own == "open" and isinstance(node.func, ast.Attribute) and name not in OPENERS):
            assert isinstance(node.func, ast.Attribute)
            return _path(node.func.value, scope, constants, depth + 1)
        if node.args and (name in ("open", "str", "Path") or name.rpartition(".")[2] in ("load", "open", "read_file")):
            return _path(node.args[0], scope, constants, depth + 1)
    found = constants.expression(node, scope)
    return UNKNOWN if found is node else _path(found, scope, constants, depth + 1)


def _patterns(test: ast.expr, scope: Scope, constants: Constants) -> Iterator[str]:
    """Patterns of names and operators in a condition such as `'norm' in layer.name`."""
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, op, right = node.left, node.ops[0], node.comparators[0]
            known, names = constants.value(left, scope), constants.value(right, scope)
            if isinstance(op, ast.In) and isinstance(known, str):
                if dotted(right).endswith("name"):
                    yield f"*{known}*"
            elif dotted(left).endswith("name") and isinstance(op, ast.Eq | ast.In):
                yield from (each for each in (names if isinstance(names, tuple) else (names,)) if isinstance(each, str))
            elif dotted(left).endswith("type") and isinstance(op, ast.Eq | ast.In):
                for each in ast.walk(right):
                    if isinstance(each, ast.Attribute) and each.attr in LAYER_TYPES:
                        yield LAYER_TYPES[each.attr]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
            values = (each.value for each in node.args if isinstance(each, ast.Constant))
            yield from (f"{value}*" for value in values if isinstance(value, str))
