"""TorchScript files: read before they are loaded, since loading one runs what its modules say.

The code in an archive is a subset of Python. Without trust each operator that it names must be one that computes; those
that read and write files, start threads or belong to an extension are refused, and so is code that can't be read.
"""

from __future__ import annotations

import ast
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.torch_models.archive import read_archive, untrusted, write_archive
from enginesmith.converters.torch_models.weights import read_pickle

if TYPE_CHECKING:
    from torch import nn

NAMESPACES = {"aten", "prim", "prims", "quantized", "_quantized", "quantized_decomposed", "prepacked", "torchvision"}
"""Of operators that compute; others come with an extension."""
OUTSIDE = {
    *(
        "from_file",
        "save",
        "load",
        "_load",
        "read_file",
        "write_file",
        "open",
        "set_data",
        "_test_serialization_subcmul",
    ),
    *("rpc_async", "rpc_sync", "rpc_remote", "CallFunction", "PythonOp", "CudaFusionGroup", "FusionGroup"),
    *("TensorExprGroup", "TensorExprDynamicGroup", "oneDNNFusionGroup", "is_owner", "is_owner_name", "owner_name"),
}
"""Operators and functions that reach beyond the tensors that they are given."""
CLASSES = "__torch__.torch.classes."
"""Before the name of a class that is written in C++."""
KNOWN_CLASSES = ("quantized.", "xnnpack.")
LEGACY = "model.json"


def load_torchscript(path: Path, trust: bool) -> nn.Module:
    """The module in eval mode, on the CPU. Raises UserError."""
    import torch

    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no TorchScript file: it is truncated, or text, or an old pickle")
    members = {} if trust else read_archive(path)
    if trust or "constants.pkl" in members or LEGACY in members:
        if not trust:
            _check(path, members)
        try:
            # a copy, of which nothing is unread
            source = str(path) if trust else write_archive(members, "archive")
            module: nn.Module = torch.jit.load(source, map_location="cpu").eval()
            return module
        except RuntimeError as error:
            if "constants.pkl" not in str(error):
                raise UserError(f"{path} is no TorchScript file: {first_line(error)}") from None
    content = read_pickle(path, trust)  # torch.save wrote it: a state dict, or a pickled module
    if isinstance(content, torch.nn.Module):
        return content.eval()
    raise UserError(f"{path} holds weights but no model; give MODEL the model that they belong to, and WEIGHTS={path}")


def _check(path: Path, members: Mapping[str, bytes]) -> None:
    """Raises UserError for what could do more than compute."""
    if LEGACY in members:
        raise untrusted(path, "is in the old form of TorchScript, which is not read before it runs")
    for name, content in members.items():
        if name.endswith(".pkl"):
            for word in _words(path, name, content):
                known = word.removeprefix(CLASSES).startswith(KNOWN_CLASSES)
                if word.startswith(CLASSES) and not known:
                    raise untrusted(path, f"makes an object of the C++ class {word.removeprefix(CLASSES)}")
        if not name.endswith(".py"):
            continue
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise untrusted(path, f"has code in {name} that can't be read before it runs") from None
        for node in ast.walk(tree):
            if found := _reaches_out(node):
                line = getattr(node, "lineno", 0)
                raise untrusted(path, f"has code that calls {found} ({name}:{line}), beyond what computes")


def _words(path: Path, name: str, content: bytes) -> Iterator[str]:
    """The names of classes in a pickle, which is not loaded."""
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "GLOBAL" and isinstance(argument, str):
                yield argument.replace(" ", ".")
            elif isinstance(argument, str) and CLASSES in argument:
                yield argument
    except Exception:  # noqa: BLE001 - pickletools raises anything for a damaged pickle
        raise UserError(f"{path} is damaged: {name} is no pickle") from None


def _reaches_out(node: ast.AST) -> str:
    """The operator that a node of the syntax names, if it is none that only computes; else an empty text."""
    if isinstance(node, ast.Attribute):
        dotted = _dotted(node)
        space, _, rest = dotted.partition(".")
        if space == "ops" and rest:
            parts = rest.split(".")
            if parts[0] not in NAMESPACES:
                return dotted
        if dotted.startswith(CLASSES) and not dotted.removeprefix(CLASSES).startswith(KNOWN_CLASSES):
            return dotted
        # of a string too: JIT takes "file".from_file(...) for the operator
        return dotted or node.attr if node.attr in _outside() else ""
    if isinstance(node, ast.Name):
        return node.id if node.id in ("rpc_async", "rpc_sync", "rpc_remote", "open", "exec", "eval") else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        for argument in node.args[1:2]:
            if not isinstance(argument, ast.Constant) or argument.value in _outside():
                return "getattr"
    return ""


def _dotted(node: ast.AST) -> str:
    """`a.b.c` as a text; empty where it does not begin with a name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


@cache
def _outside() -> frozenset[str]:
    """`OUTSIDE`, and every operator that this PyTorch has which takes the name of a file."""
    import torch

    found = set(OUTSIDE)
    for schema in torch._C._jit_get_all_schemas():
        if any(argument.name in ("filename", "file", "path") for argument in schema.arguments):
            found.add(schema.name.rpartition("::")[2])
    return frozenset(found)
