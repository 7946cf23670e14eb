"""What names and expressions of a Python script stand for, as far as its text says. Nothing of it is run.

Known are literals, arithmetic on them, paths and strings made of them, names that were given such a value before (in the function, as
its default, at its only kind of call, in the module, as an attribute of self), and the defaults of argparse.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from enginesmith.compat.migrations import known_calls
from enginesmith.compat.migrations.script_arguments import UNKNOWN, Arguments

DEPTH, LARGEST, LONGEST = 24, 1 << 64, 4096
"""Names that are followed one after another; integers and texts that are made."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | None
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: lambda a, b: a is b,
    ast.IsNot: lambda a, b: a is not b,
}
Arm = tuple[ast.expr, bool]
"""The test of an `if`, and which of its arms."""


class Assigned(NamedTuple):
    """What a name was given, at which line and under which conditions."""

    line: int
    value: ast.expr
    arms: tuple[Arm, ...]


class Constants:
    """The names of one script. `given` are the words that follow the script's name where it was called."""

    def __init__(self, tree: ast.Module, given: Sequence[str] = ()) -> None:
        self.scopes: dict[ast.AST, Scope] = {}
        self.assigned: dict[tuple[Scope, str], list[Assigned]] = {}
        self.several: dict[tuple[str, str], list[Any]] = {}
        """Of a function and its argument, what it is called with where that is not always the same."""
        self.functions: dict[str, Function] = {}
        self.calls: dict[str, list[ast.Call]] = {}
        self.arguments = Arguments()
        self._arms: tuple[Arm, ...] = ()
        self._arms_of: dict[ast.AST, tuple[Arm, ...]] = {}
        """Of the names that are read, the conditions that they stand under."""
        self._scan(tree, None)
        self.arguments.take(given)

    def value(self, node: ast.expr | None, scope: Scope, depth: int = 0) -> Any:
        """What an expression is within a function (None: in the module); UNKNOWN where the text does not say."""
        if node is None or depth > DEPTH:
            return UNKNOWN
        try:
            found = self._value(node, scope, depth + 1)
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            return UNKNOWN
        if (isinstance(found, int) and abs(found) > LARGEST) or (isinstance(found, str) and len(found) > LONGEST):
            return UNKNOWN
        return found

    def expression(self, node: ast.expr, scope: Scope) -> ast.expr:
        """What a name was given, one step back; the expression itself where nothing is known."""
        key = dotted(node)
        entries = self._entries(key, scope, getattr(node, "lineno", 0)) if key else []
        return entries[-1][1].value if entries else node

    def _value(self, node: ast.expr, scope: Scope, depth: int) -> Any:
        def inner(other: ast.expr) -> Any:
            return self.value(other, scope, depth)

        match node:
            case ast.Constant():
                return node.value
            case ast.Name() | ast.Attribute():
                return self._named(node, scope, depth)
            case ast.Tuple() | ast.List() | ast.Set():
                items = [inner(item) for item in node.elts]
                return UNKNOWN if any(item is UNKNOWN for item in items) else tuple(items)
            case ast.Dict():
                pairs = [(inner(key), inner(value)) for key, value in zip(node.keys, node.values, strict=True) if key]
                return {key: value for key, value in pairs if key is not UNKNOWN}
            case ast.JoinedStr():
                parts = [inner(part.value if isinstance(part, ast.FormattedValue) else part) for part in node.values]
                return UNKNOWN if any(part is UNKNOWN for part in parts) else "".join(map(str, parts))
            case ast.UnaryOp(op=ast.USub()):
                return -inner(node.operand)
            case ast.UnaryOp(op=ast.Not()):
                operand = inner(node.operand)
                return UNKNOWN if operand is UNKNOWN else not operand
            case ast.BinOp():
                return self._binary(node.op, inner(node.left), inner(node.right))
            case ast.BoolOp():
                return self._boolean(node.op, [inner(part) for part in node.values])
            case ast.Compare(ops=[only], comparators=[other]):
                left, right = inner(node.left), inner(other)
                return UNKNOWN if left is UNKNOWN or right is UNKNOWN else COMPARE[type(only)](left, right)
            case ast.IfExp():
                test = inner(node.test)
                return UNKNOWN if test is UNKNOWN else inner(node.body if test else node.orelse)
            case ast.Subscript():
                return inner(node.value)[inner(node.slice)]
            case ast.Call():
                return self._called(node, scope, depth)
        return UNKNOWN

    def _named(self, node: ast.Name | ast.Attribute, scope: Scope, depth: int) -> Any:
        key = dotted(node)
        if isinstance(node, ast.Attribute) and key.count(".") == 1 and node.attr in self.arguments.values:
            return self.arguments.values[node.attr]
        entries = self._entries(key, scope, node.lineno)
        for where, entry in reversed(entries):
            own = self._arms_of.get(node, ())
            holds = [self._holds(arm, where, depth) for arm in entry.arms if arm not in own]
            if any(each is False for each in holds):
                continue
            return UNKNOWN if any(each is UNKNOWN for each in holds) else self.value(entry.value, where, depth)
        while scope is not None and isinstance(node, ast.Name) and not entries:
            if node.id in parameters(scope):
                return self._parameter(node.id, scope, depth)
            scope = self.scopes.get(scope)
        return UNKNOWN

    def _holds(self, arm: Arm, scope: Scope, depth: int) -> Any:
        """Does the condition of an arm hold? UNKNOWN where the text does not say."""
        test = self.value(arm[0], scope, depth)
        return UNKNOWN if test is UNKNOWN else bool(test) is arm[1]

    def _entries(self, key: str, scope: Scope, line: int) -> list[tuple[Scope, Assigned]]:
        """The assignments that a name may be of, the last one last: those before it in the function, else in the ones around it,
        else in the module; of an attribute all, wherever they stand. Those in a function that is around hold at any line.
        """
        if not key:
            return []
        if "." in key:
            return [
                (where, entry) for (where, name), entries in self.assigned.items() if name == key for entry in entries
            ]
        where = scope
        while True:
            entries = self.assigned.get((where, key), [])
            before = [(where, entry) for entry in entries if entry.line <= line or where is not scope]
            if before or where is None or (where is scope and key in parameters(where)):
                return before
            where = self.scopes.get(where)

    def _parameter(self, name: str, function: Function, depth: int) -> Any:
        """What a function is called with, where all calls that can be read say the same; else its default."""
        arguments = function.args
        positional = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
        defaults = dict(zip(reversed(positional), reversed(arguments.defaults), strict=False))
        defaults |= {
            each.arg: default
            for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None
        }
        if name not in (*positional, *(each.arg for each in arguments.kwonlyargs)):
            return UNKNOWN
        place = [each for each in positional if each not in ("self", "cls")]
        told = []
        for call in self.calls.get(function.name, []):
            given = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
            if given is None and name in place and place.index(name) < len(call.args):
                given = call.args[place.index(name)]
            if given is not None:
                told.append(self.value(given, self.scopes.get(call), depth))
        known = [each for each in told if each is not UNKNOWN]
        if known:
            if others := [each for each in dict.fromkeys(map(repr, known)) if each != repr(known[0])]:
                self.several[function.name, name] = others
            return known[0]
        if told:
            return UNKNOWN
        return self.value(defaults.get(name), self.scopes.get(function), depth)

    @staticmethod
    def _binary(op: ast.operator, left: Any, right: Any) -> Any:
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        if isinstance(op, ast.Div) and isinstance(left, str):
            return str(PurePosixPath(left) / right)
        if isinstance(op, ast.LShift | ast.Pow) and not (isinstance(right, int) and 0 <= right <= 64):
            return UNKNOWN
        if isinstance(op, ast.Pow):
            return left**right if isinstance(left, int) and abs(left) <= 10 else UNKNOWN
        if isinstance(op, ast.Mult) and not (isinstance(left, int | float) and isinstance(right, int | float)):
            return UNKNOWN
        return BINARY[type(op)](left, right)

    @staticmethod
    def _boolean(op: ast.boolop, values: list[Any]) -> Any:
        known = [value for value in values if value is not UNKNOWN]
        decided = [value for value in known if bool(value) is isinstance(op, ast.Or)]
        if decided:
            return decided[0]
        return known[-1] if len(known) == len(values) else UNKNOWN

    def _called(self, node: ast.Call, scope: Scope, depth: int) -> Any:
        """Casts, paths, and methods of strings."""
        arguments = [self.value(argument, scope, depth) for argument in node.args]
        if any(argument is UNKNOWN for argument in arguments):
            return UNKNOWN
        if isinstance(node.func, ast.Attribute):
            subject = self.value(node.func.value, scope, depth)
            made = known_calls.of_method(subject, node.func.attr, arguments)
            if made is not known_calls.OTHER:
                return made
        made = known_calls.of_function(dotted(node.func), arguments)
        return UNKNOWN if made is known_calls.OTHER else made

    def _scan(self, node: ast.AST, scope: Scope) -> None:
        """Note assignments, functions, calls and argparse's options."""
        self.scopes[node] = scope
        inner = scope
        if isinstance(node, ast.If):
            self._scan(node.test, scope)
            around = self._arms
            for arm, body in ((True, node.body), (False, node.orelse)):
                self._arms = (*around, (node.test, arm))
                for statement in body:
                    self._scan(statement, scope)
            self._arms = around
            return
        if isinstance(node, ast.Name | ast.Attribute):
            self._arms_of[node] = self._arms
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.functions.setdefault(node.name, node)
                inner = node
            case ast.Assign():
                for target in node.targets:
                    self._assign(target, node.value, scope)
            case ast.AnnAssign(value=ast.expr() as value):
                self._assign(node.target, value, scope)
            case ast.NamedExpr():
                self._assign(node.target, node.value, scope)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    if item.optional_vars is not None:
                        self._assign(item.optional_vars, item.context_expr, scope)
            case ast.Call():
                self.calls.setdefault(dotted(node.func).rpartition(".")[2], []).append(node)
                if isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
                    keywords = {each.arg: self.value(each.value, None) for each in node.keywords if each.arg}
                    self.arguments.add([self.value(each, None) for each in node.args], keywords)
        around = self._arms
        self._arms = () if inner is not scope else around
        for child in ast.iter_child_nodes(node):
            self._scan(child, inner)
        self._arms = around

    def _assign(self, target: ast.expr, value: ast.expr, scope: Scope) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                for each, own in zip(target.elts, value.elts, strict=True):
                    self._assign(each, own, scope)
            else:
                for place, each in enumerate(target.elts):
                    item = ast.Subscript(value=value, slice=ast.Constant(value=place), ctx=ast.Load())
                    self._assign(each, ast.copy_location(item, value), scope)
            return
        if key := dotted(target):
            self.assigned.setdefault((scope, key), []).append(Assigned(target.lineno, value, self._arms))


def parameters(function: Function) -> list[str]:
    """The names of a function's arguments."""
    arguments = function.args
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def dotted(node: ast.AST) -> str:
    """`a.b.c`; empty for what is no such name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""
