"""Libraries around TensorRT, read from their calls: torch2trt, Torch-TensorRT, ultralytics, and Polygraphy's Python API."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from enginesmith.compat.migrations import python_values, sizes
from enginesmith.compat.migrations.constants import Constants, Scope, dotted
from enginesmith.compat.migrations.facts import Fact, facts
from enginesmith.compat.migrations.reading import Job, Reading, Unread
from enginesmith.compat.migrations.script_arguments import UNKNOWN

TORCH_TENSORRT = ("torch_tensorrt", "torchtrt", "trtorch")
ENGINE = "engine"
"""The format that ultralytics writes by TensorRT."""
LOADERS = {"NetworkFromOnnxPath", "network_from_onnx_path", "OnnxFromPath", "onnx_from_path"}
CONFIGS = {"CreateConfig", "create_config"}
SAVERS = {"SaveEngine", "save_engine"}
EXAMPLES = {"zeros", "ones", "rand", "randn", "empty"}
"""Functions of torch whose arguments are sizes."""
RENAMED = {
    "calibrator": "--calibration-cache",
    "profiles": "--trt-min-shapes",
    "memory_pool_limits": "--pool-limit",
    "max_workspace_size": "--workspace",
}
"""Arguments of CreateConfig whose option has another name."""
ENUMERATED = {
    "half": "fp16", "float16": "fp16", "fp16": "fp16", "16": "fp16", "w16a16": "fp16",
    "int8": "int8", "8": "int8", "w8a8": "int8", "bfloat16": "bf16", "fp8": "fp8",
}  # fmt: skip
"""Types of torch, and ultralytics' names, of those that are no float32."""


def read(tree: ast.Module, job: Job, reading: Reading, constants: Constants) -> None:
    """Add a job for each call of a library that builds by itself; what Polygraphy's API is given is of the script's own `job`."""
    unread = reading.unread
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, scope = dotted(node.func), constants.scopes.get(node)
        head = name.rpartition(".")[0]
        last = node.func.attr if isinstance(node.func, ast.Attribute) else name
        if last == "torch2trt":
            _call(node, "torch2trt", reading, constants, scope)
        elif head.partition(".")[0] in TORCH_TENSORRT and last in ("compile", "convert_method_to_trt_engine"):
            _call(node, "torch_tensorrt", reading, constants, scope)
        elif last == "export" and _keyword(node, "format", scope, constants) == ENGINE:
            _call(node, "YOLO.export", reading, constants, scope)
        elif last in CONFIGS:
            _polygraphy(node, job, unread, constants, scope)
        elif last in LOADERS and node.args:
            path = constants.value(node.args[0], scope)
            said = (("model", path if isinstance(path, str) else ""),)
            job.add(node.lineno, ast.unparse(node), facts("trtexec")["--onnx"], said=said)
        elif last == "add" and _of_profile(node):
            _profile(node, job, unread, constants, scope)
        elif last in SAVERS:
            job.add(node.lineno, ast.unparse(node)[:100], facts("trtexec")["--saveEngine"])


def _call(node: ast.Call, library: str, reading: Reading, constants: Constants, scope: Scope) -> None:
    """The call itself, and each of its keywords; of a dict that is spread, those that are literal."""
    known = facts("python")
    job = Job("python", node.lineno, f"{ast.unparse(node.func)}(\N{HORIZONTAL ELLIPSIS})")
    reading.jobs.append(job)
    head = known.get(library) or known[f"{library}.compile"]
    said: tuple[tuple[str, str], ...] = ()
    if head.means == "model":
        said = (("model", _yolo(node, constants, scope)),)
    elif library == "torch2trt" and len(node.args) > 1:
        said = tuple(("profile", text) for text in _examples(node.args[1], constants, scope))
    job.add(node.lineno, job.text, head, said=said)
    for name, value in _keywords(node, constants, scope):
        fact = known.get(f"{library}.{name}")
        text = f"{name}={ast.unparse(value)}"
        if fact is None:
            reading.unread.append(Unread(node.lineno, text, f"no argument of {library} that is known here"))
            continue
        job.add(node.lineno, text, fact, said=_said(fact, value, constants, scope))


def _said(fact: Fact, value: ast.expr, constants: Constants, scope: Scope) -> tuple[tuple[str, str], ...]:
    known = constants.value(value, scope)
    meaning = fact.means_value
    if meaning is None or known is False or known is None:
        return ()
    key, own = meaning
    if own:
        return ((key, own),)
    if key == "precision":  # a set of types
        names = [dotted(each).rpartition(".")[2] for each in ast.walk(value) if isinstance(each, ast.Attribute)]
        names += [str(each.value) for each in ast.walk(value) if isinstance(each, ast.Constant)]
        return tuple((key, ENUMERATED[name]) for name in dict.fromkeys(names) if ENUMERATED.get(name))
    if key == "profile" and fact.name == "YOLO.export.imgsz":
        pair = known if isinstance(known, tuple) else (known, known)
        return (("profile", f"1x3x{pair[0]}x{pair[-1]}"),) if all(isinstance(each, int) for each in pair) else ()
    if key == "profile":
        return tuple(("profile", text) for text in _inputs(value, constants, scope))
    return ((key, str(known)),) if known is not UNKNOWN else ()


def _inputs(value: ast.expr, constants: Constants, scope: Scope) -> Iterator[str]:
    """`Input(min_shape=…, opt_shape=…, max_shape=…)`, `Input((1, 3, 224, 224))`: without names."""
    for each in ast.walk(value):
        if isinstance(each, ast.Call) and dotted(each.func).rpartition(".")[2] == "Input":
            given = {keyword.arg: constants.value(keyword.value, scope) for keyword in each.keywords}
            fixed = given.get("shape", constants.value(each.args[0], scope) if each.args else UNKNOWN)
            three = [given.get(f"{side}_shape", fixed) for side in ("min", "opt", "max")]
            if all(python_values.sizes_of(sides) for sides in three):
                yield sizes.written({"": (three[0], three[1], three[2])})


def _examples(value: ast.expr, constants: Constants, scope: Scope) -> list[str]:
    """The sizes of an only input that is given as an example: `[torch.zeros((1, 3, 224, 224)).cuda()]`."""
    if not isinstance(value, ast.List | ast.Tuple) or len(value.elts) != 1:
        return []
    found = constants.expression(value.elts[0], scope)
    for each in ast.walk(found):
        if isinstance(each, ast.Call) and dotted(each.func).rpartition(".")[2] in EXAMPLES:
            given = [constants.value(argument, scope) for argument in each.args]
            text = python_values.sizes_of(given[0] if len(given) == 1 else tuple(given))
            return [text] if text else []
    return []


def _yolo(node: ast.Call, constants: Constants, scope: Scope) -> str:
    """`ultralytics:NAME` of the object that is exported; empty where it is not known."""
    made = node.func.value if isinstance(node.func, ast.Attribute) else node
    found = made if isinstance(made, ast.Call) else constants.expression(made, scope)
    name = constants.value(found.args[0], scope) if isinstance(found, ast.Call) and found.args else UNKNOWN
    return f"ultralytics:{name}" if isinstance(name, str) else ""


def _polygraphy(node: ast.Call, job: Job, unread: list[Unread], constants: Constants, scope: Scope) -> None:
    """CreateConfig's keywords are the command's options, in other letters."""
    options = facts("polygraphy")
    for keyword in node.keywords:
        fact = options.get(RENAMED.get(keyword.arg or "", f"--{(keyword.arg or '').replace('_', '-')}"))
        text = f"{keyword.arg}={ast.unparse(keyword.value)}"
        if fact is None:
            unread.append(Unread(node.lineno, text, "no argument of CreateConfig that is known here"))
            continue
        known = constants.value(keyword.value, scope)
        meaning = fact.means_value
        said: tuple[tuple[str, str], ...] = ()
        if meaning is not None and meaning[1] and known not in (False, None):
            said = (meaning,)
        elif keyword.arg == "calibrator":
            said = python_values.calibrator(keyword.value, scope, constants)
        job.add(node.lineno, text, fact, said=said)


def _of_profile(node: ast.Call) -> bool:
    return {"min", "opt", "max"} <= {keyword.arg for keyword in node.keywords}


def _profile(node: ast.Call, job: Job, unread: list[Unread], constants: Constants, scope: Scope) -> None:
    given = {keyword.arg: constants.value(keyword.value, scope) for keyword in node.keywords}
    name = constants.value(node.args[0], scope) if node.args else given.get("name", UNKNOWN)
    three = [given[side] for side in ("min", "opt", "max")]
    if not all(python_values.sizes_of(sides) for sides in three):
        unread.append(Unread(node.lineno, ast.unparse(node)[-100:], "its sizes are only known when it runs"))
        return
    text = sizes.written({name if isinstance(name, str) else "": (three[0], three[1], three[2])})
    job.add(
        node.lineno,
        f"Profile.add({text})",
        facts("python")["IOptimizationProfile.set_shape"],
        said=(("profile", text),),
    )


def _keywords(node: ast.Call, constants: Constants, scope: Scope) -> Iterator[tuple[str, ast.expr]]:
    for keyword in node.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value
            continue
        spread = constants.expression(keyword.value, scope)
        if isinstance(spread, ast.Dict):
            for key, value in zip(spread.keys, spread.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value


def _keyword(node: ast.Call, name: str, scope: Scope, constants: Constants) -> object:
    return next((constants.value(each.value, scope) for each in node.keywords if each.arg == name), None)
