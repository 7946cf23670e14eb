"""Commands that a Python script starts: lists of words, and lines for a shell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from enginesmith.compat.migrations import shell
from enginesmith.compat.migrations.constants import Constants, Scope
from enginesmith.compat.migrations.facts import facts
from enginesmith.compat.migrations.reading import Reading, Unread
from enginesmith.compat.migrations.script_arguments import UNKNOWN
from enginesmith.compat.migrations.trtexec import UNKNOWN as DOTS

FORMAT = re.compile(r"%[a-z]|\{[^{}]*\}")
"""What a string is formatted by."""
LINES = (ast.Constant, ast.JoinedStr, ast.BinOp, ast.Call)
WHOLE = (ast.Call, ast.Assign, ast.keyword, type(None))
"""What stands around a line that is no part of another one."""
ADDED = "an option of trtexec that is added to a command: add it where it holds"


def read(node: ast.AST, parent: ast.AST | None, reading: Reading, constants: Constants) -> None:
    """Add the job of a command that an expression is, and options that a statement adds to one as not read."""
    scope, line = constants.scopes.get(node), getattr(node, "lineno", 1)
    options = facts("trtexec")
    for word in _added(node, scope, constants):
        if word.partition("=")[0] in options:
            reading.unread.append(Unread(line, word, ADDED))
    if isinstance(node, ast.List) and node.elts:
        shell.read_words([_text(each, scope, constants) for each in node.elts], line, reading)
    elif isinstance(node, LINES) and isinstance(parent, WHOLE):
        text = _text(node, scope, constants)
        if " -" in text and shell.NAMES.match(text.strip()):
            shell.read(text, reading, line)


def _added(node: ast.AST, scope: Scope, constants: Constants) -> Iterable[str]:
    """The words of `command.append("--fp16")`, `command += " --fp16"`."""
    values: list[ast.expr] = []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "extend"):
        values = node.args
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        values = [node.value]
    for value in values:
        for each in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
            yield from _text(each, scope, constants).split()


def _text(node: ast.expr, scope: Scope, constants: Constants) -> str:
    """With dots for what only running would tell."""
    value = constants.value(node, scope)
    if value is not UNKNOWN:
        return str(value)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
        return "".join(_text(part, scope, constants) for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, scope, constants) + _text(node.right, scope, constants)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return FORMAT.sub(DOTS, _text(node.left, scope, constants))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return FORMAT.sub(DOTS, _text(node.func.value, scope, constants))
    return DOTS
