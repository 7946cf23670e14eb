"""The line of the model's source that is to blame: for an exception of torch's exporters, and for a node of an ONNX graph.

Torch runs the model's own code while it exports, so that the exception's traceback often leads to the line. Where it
translates a graph that it has captured, the node that it was at is a variable of its functions, and has the stack of the
call that it stands for.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from traceback import StackSummary
from types import FrameType
from typing import Any

import torch

from enginesmith.converters.core.files import is_installed

TOOLS = frozenset({"torch", "functorch", "sympy", "numpy", "onnx", "onnx_ir", "onnxscript"})
"""Packages of which no line is the author's."""
TORCH = str(Path(torch.__file__).parent)
OURS = str(Path(__file__).parents[2])
_FRAME = re.compile(r'File "(?P<file>[^"\n]{1,500})", line (?P<line>\d{1,7}), in ')
"""Of a stack as Python writes it, outermost call first."""
_RANGE = re.compile(r"^(?P<file>[^\s(][^(\n]{0,500})\((?P<line>\d{1,7})\): ", re.MULTILINE)
"""Of a stack as TorchScript writes it, innermost call first."""


@dataclass(frozen=True)
class Place:
    """Where an export failed: the operator, such as `aten.polygamma`, and the model's line, `net.py:12: y = f(x)`. Either is
    empty where it isn't known."""

    operator: str = ""
    line: str = ""


def place(error: BaseException) -> Place:
    """Of an exception and those that it was raised from: the innermost node, else the innermost call."""
    chain = list(_chain(error))
    for each in chain:
        for frame, _ in _frames(each):
            for variable in frame.f_locals.values():
                if isinstance(variable, torch.fx.Node) and variable.op == "call_function":
                    return Place(_operator(variable.target), line_of_stack(variable.meta.get("stack_trace") or ""))
                if isinstance(variable, torch._C.Node):
                    # sourceRange() is not in torch's stubs
                    where: Any = variable
                    return Place(variable.kind().replace("::", "."), _of_ranges(where.sourceRange()))
    for each in chain:
        calls = [(frame.f_code.co_filename, line) for frame, line in _frames(each) if not is_tools(frame)]
        if line := _first(calls):
            return Place(line=line)
    return Place(line=next(filter(None, (line_of_stack(str(each)) for each in chain)), ""))


def is_tools(frame: FrameType) -> bool:
    """Is it torch's, Python's or ours?"""
    return frame.f_code.co_filename.startswith((TORCH, f"{OURS}{os.sep}", "<frozen"))


def user_frames() -> Iterator[FrameType]:
    """The stack without torch's own frames and ours, innermost first; a library's where there are no others."""
    frame: FrameType | None = sys._getframe(1)
    own: list[FrameType] = []
    others: list[FrameType] = []
    while frame is not None:
        if not is_tools(frame):
            (others if is_installed(Path(frame.f_code.co_filename)) else own).append(frame)
        frame = frame.f_back
    yield from own or others


def source_line(file: str, line: int) -> str:
    """`net.py:12: y = f(x)`."""
    return f"{Path(file).name}:{line}: {linecache.getline(file, line).strip()}"


def line_of_stack(text: str) -> str:
    """The innermost of the author's lines in a text that holds a stack as Python writes it; empty without one."""
    return _first([(found["file"], int(found["line"])) for found in reversed([*_FRAME.finditer(text)])])


def line_of_frames(stack: StackSummary) -> str:
    """The innermost of the author's lines in a stack, outermost call first; empty without one."""
    return _first([(frame.filename, frame.lineno or 0) for frame in reversed(stack)])


def scopes_of_name(name: str) -> list[str]:
    """Paths of the modules around a node that TorchScript's exporter named, as `named_modules` has them, outermost first."""
    # `/layer1/layer1.0/conv1/Conv`: the entries of a Sequential repeat its name
    parts = name.split("/")[1:-1] if name.startswith("/") else []
    path = ""
    paths = []
    for before, part in zip(["", *parts], parts, strict=False):
        own = part.removeprefix(f"{before}.") if before else part
        path = f"{path}.{own}" if path else own
        paths.append(path)
    return paths


def _of_ranges(text: str) -> str:
    return _first([(found["file"], int(found["line"])) for found in _RANGE.finditer(text)])


def _first(calls: Iterable[tuple[str, int]]) -> str:
    """The first call that is none of a tool; one of an installed package where there is no other."""
    others = ""
    for file, line in calls:
        installed = is_installed(Path(file))
        if file.startswith(("<", f"{OURS}{os.sep}")) or (installed and not TOOLS.isdisjoint(Path(file).parts)):
            continue
        text = source_line(file, line)
        if not installed:
            return text
        others = others or text
    return others


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The first cause first."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    yield from reversed(chain)


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Calls with their current lines, innermost first."""
    found = []
    at = error.__traceback__
    while at is not None:
        found.append((at.tb_frame, at.tb_lineno))
        at = at.tb_next
    yield from reversed(found)


def _operator(target: Any) -> str:
    """`aten.polygamma` of an overload; of other functions their name."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target.overloadpacket)
    return str(getattr(target, "__name__", target))
