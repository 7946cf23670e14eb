"""Python scripts that build or run engines: read from their syntax, never run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from enginesmith.compat.migrations import python_commands, python_libraries, python_values
from enginesmith.compat.migrations.constants import Constants, Scope, dotted
from enginesmith.compat.migrations.facts import Fact, facts, same_names
from enginesmith.compat.migrations.python_kinds import kind
from enginesmith.compat.migrations.reading import Job, Part, Reading, Unread
from enginesmith.compat.migrations.script_arguments import UNKNOWN

GENERIC = {"execute", "precision", "shape", "get_shape", "parse", "flags", "name", "refittable", "max_batch_size"}
"""Names that other libraries have too: they count where the object is known to be TensorRT's."""
ONLY_READ = {"clear_flag", "get_flag", "is_device_type_set"}
METHODS = ("add_", "build_", "create_", "execute", "get_", "parse", "set_", "supports_")
"""Starts of the names of methods, not of properties."""
BUILDS = {"build_engine", "build_cuda_engine", "build_serialized_network", "build_engine_with_config"}
OLD = "9.3"
"""The last release without an explicit batch."""
LONG = 120


@dataclass(frozen=True)
class Condition:
    """An `if` around a statement: its test, which arm, and whether it is known to hold."""

    test: ast.expr
    arm: bool
    holds: object

    @property
    def text(self) -> str:
        return ast.unparse(self.test) if self.arm else f"not ({ast.unparse(self.test)})"


def read(text: str, reading: Reading, given: Sequence[str] = ()) -> None:
    """Add the job of a script, and those of the commands that it starts. Raises SyntaxError for what is no Python 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the script's own strings
        tree = ast.parse(text)
    constants = Constants(tree, given)
    job = Job("python", 1, "")
    reader = _Reader(job, reading, constants, text.splitlines())
    reader.visit_all(tree.body, ())
    python_libraries.read(tree, job, reading, constants)
    _settle(job)
    for (function, name), others in constants.several.items():
        reason = f"it is called several times, and the first holds; its other values are {', '.join(others)}"
        reading.unread.append(Unread(constants.functions[function].lineno, f"{function}({name}=…)", reason))
    if job.parts:
        reading.jobs.insert(0, job)


class _Reader:
    def __init__(self, job: Job, reading: Reading, constants: Constants, lines: list[str]) -> None:
        self.job, self.reading, self.constants, self.lines = job, reading, constants, lines
        self.facts, self.same = facts("python"), same_names()
        self.by_name: dict[str, list[Fact]] = {}
        for name, fact in self.facts.items():
            if "." in name and name[0] in "BIORUC" and name.count(".") == 1:
                self.by_name.setdefault(name.partition(".")[2], []).append(fact)

    def visit_all(self, statements: Sequence[ast.stmt], conditions: tuple[Condition, ...]) -> None:
        for statement in statements:
            self._statement(statement, conditions)

    def _statement(self, node: ast.stmt, conditions: tuple[Condition, ...]) -> None:
        if isinstance(node, ast.If):
            self._expressions([node.test], conditions)
            holds = self.constants.value(node.test, self.constants.scopes.get(node))
            self.visit_all(node.body, (*conditions, Condition(node.test, True, holds)))
            self.visit_all(node.orelse, (*conditions, Condition(node.test, False, holds)))
            return
        blocks = [value for _, value in ast.iter_fields(node) if isinstance(value, list)]
        inner = [each for block in blocks for each in block if isinstance(each, ast.stmt)]
        handlers: list[ast.ExceptHandler | ast.match_case] = [
            each for block in blocks for each in block if isinstance(each, ast.ExceptHandler | ast.match_case)
        ]
        compound = bool(inner or handlers)
        own = [
            each
            for each in ast.iter_child_nodes(node)
            if not isinstance(each, ast.stmt | ast.ExceptHandler | ast.match_case)
        ]
        if isinstance(node, ast.ClassDef):
            self._calibrator(node, conditions)
        self._expressions(own if compound else [node], conditions)
        self.visit_all(inner, conditions)
        for handler in handlers:
            self.visit_all(handler.body, conditions)

    def _expressions(self, nodes: Sequence[ast.AST], conditions: tuple[Condition, ...]) -> None:
        for root in nodes:
            parents = {child: parent for parent in ast.walk(root) for child in ast.iter_child_nodes(parent)}
            for node in ast.walk(root):
                if isinstance(node, ast.Attribute):
                    self._attribute(node, parents, conditions)
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    fact = self.facts.get(node.func.id)  # from tensorrt import ...
                    if fact is not None and node.func.id[0].isupper() and node.func.id not in self.constants.functions:
                        self._add(node, fact, conditions)
                python_commands.read(node, parents.get(node), self.reading, self.constants)

    def _attribute(
        self, node: ast.Attribute, parents: dict[ast.AST, ast.AST], conditions: tuple[Condition, ...]
    ) -> None:
        name = dotted(node)
        if name.startswith("uff.") and name in self.facts:
            self._add(node, self.facts[name], conditions)
            return
        *_, owner, own = ("", *name.split(".")) if name else ("", "", node.attr)
        if owner in self.same and owner[0].isupper() and owner not in ("Builder", "Runtime"):
            self._member(node, owner, own, parents, conditions)
            return
        if name.count(".") == 1 and own in self.facts and (own[0].isupper() or own == "init_libnvinfer_plugins"):
            above = parents.get(node)
            if not (isinstance(above, ast.Attribute) and above.attr == "__init__"):  # said by the class's bases already
                self._add(node, self.facts[own], conditions)  # trt.IInt8EntropyCalibrator2
            return
        scope = self.constants.scopes.get(node)
        owner, certain = kind(node.value, scope, self.constants)
        fact = self._fact(node, owner, certain)
        above = parents.get(node)
        called = isinstance(above, ast.Call) and above.func is node
        if fact is not None and not certain and not called and own.startswith(METHODS):
            return  # args.build_engine
        if fact is not None:
            self._use(node, fact, parents, conditions)
        elif certain and owner in self.same:
            if own in self.same[owner] or owner in ("ILayer", "ITensor") or self._about_itself(own):
                self.job.same += 1
            else:
                self._unread(node, f"{owner} of TensorRT 7 to 11.1 has no {own} that is known here")

    def _fact(self, node: ast.Attribute, owner: str, certain: bool) -> Fact | None:
        own = node.attr
        found = self.facts.get(f"{owner}.{own}")
        if found is not None:
            return found
        if certain and own in self.same.get(owner, ()):
            return None
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            return None
        if owner and certain:
            return None
        if own in GENERIC or own in self.constants.functions:
            return None
        candidates = self.by_name.get(own, [])
        return candidates[0] if candidates else None

    @staticmethod
    def _about_itself(name: str) -> bool:
        return name.startswith("__") or name == "destroy"

    def _member(
        self,
        node: ast.Attribute,
        owner: str,
        own: str,
        parents: dict[ast.AST, ast.AST],
        conditions: tuple[Condition, ...],
    ) -> None:
        """A member of an enumeration: `trt.BuilderFlag.FP16`."""
        fact = self.facts.get(f"{owner}.{own}")
        if fact is None:
            if own in self.same[owner] or own.startswith("__"):
                self.job.same += 1
            else:
                self._unread(node, f"{owner} of TensorRT 7 to 11.1 has no {own} that is known here")
            return
        call = _enclosing_call(node, parents)
        only_read = call is not None and isinstance(call.func, ast.Attribute) and call.func.attr in ONLY_READ
        self._add(call if only_read and call else node, fact, conditions, sets=not only_read)

    def _use(
        self, node: ast.Attribute, fact: Fact, parents: dict[ast.AST, ast.AST], conditions: tuple[Condition, ...]
    ) -> None:
        """An attribute that is read, set or called."""
        parent = parents.get(node)
        scope = self.constants.scopes.get(node)
        if isinstance(node.ctx, ast.Store):
            value = _assigned_to(node, parents)
            self._assigned(node, value, fact, scope, conditions)
        elif isinstance(parent, ast.Call) and parent.func is node:
            tests = [each.test for each in conditions if each.arm]
            said, reason = python_values.called(parent, fact, scope, self.constants, tests)
            if reason:
                self._unread(parent, reason)
            self._add(parent, fact, conditions, said=said)
        elif fact.means != "profile":
            self._add(node, fact, conditions, sets=False)

    def _assigned(
        self, node: ast.Attribute, value: ast.expr | None, fact: Fact, scope: Scope, conditions: tuple[Condition, ...]
    ) -> None:
        known = self.constants.value(value, scope)
        statement = self.lines[node.lineno - 1].strip() if node.lineno <= len(self.lines) else ast.unparse(node)
        if fact.means == "layers":
            tests = [each.test for each in conditions if each.arm]
            said = python_values.layers(value, tests, scope, self.constants)
            self._add(node, fact, conditions, text=statement, said=said)
        elif fact.means == "profile":
            sizes = python_values.sizes_of(known)
            if sizes is None:
                self._unread(node, "its sizes are only known when it runs")
            self._add(node, fact, conditions, text=statement, said=(("profile", sizes),) if sizes else ())
        elif fact.means == "calibrator":
            said = () if known is None else python_values.calibrator(value, scope, self.constants)
            self._add(node, fact, conditions, text=statement, said=said)
        elif fact.means.startswith(("precision=", "constraints=")):
            if value is not None and known is UNKNOWN:
                conditions = (*conditions, Condition(value, True, UNKNOWN))
            self._add(node, fact, conditions, text=statement, sets=known is UNKNOWN or bool(known))
        elif fact.means == "batch" and isinstance(known, int):
            self._add(node, fact, conditions, text=statement, said=(("batch", str(known)),))
        else:
            self._add(node, fact, conditions, text=statement, sets=False)

    def _calibrator(self, node: ast.ClassDef, conditions: tuple[Condition, ...]) -> None:
        """A calibrator's own file of ranges, where its text has one."""
        if any("Calibrator" in dotted(base) for base in node.bases):
            for cache in python_values.caches_in(node, self.constants):
                fact = self.facts["IInt8Calibrator"]
                self._add(node, fact, conditions, text=f"class {node.name}", said=(("cache", cache),))

    def _add(
        self,
        node: ast.AST,
        fact: Fact,
        conditions: tuple[Condition, ...],
        *,
        text: str = "",
        sets: bool = True,
        said: tuple[tuple[str, str], ...] | None = None,
    ) -> None:
        shown = text or ast.unparse(node)
        meaning = fact.means_value
        if not sets:
            said = ()
        elif said is None:
            said = (meaning,) if meaning is not None and meaning[1] else ()
        where = " and ".join(each.text for each in conditions)
        arms = tuple((ast.unparse(each.test), each.arm) for each in conditions)
        taken = all(each.holds is UNKNOWN or bool(each.holds) is each.arm for each in conditions)
        sure = all(each.holds is not UNKNOWN for each in conditions)
        part = Part(getattr(node, "lineno", 1), _short(shown), fact, "", said, _short(where), taken, arms, sure)
        if part not in self.job.parts:
            self.job.parts.append(part)

    def _unread(self, node: ast.AST, reason: str) -> None:
        entry = Unread(getattr(node, "lineno", 1), _short(ast.unparse(node)), reason)
        if entry not in self.reading.unread:
            self.reading.unread.append(entry)


def _settle(job: Job) -> None:
    """What follows from the whole: does it build, and had its network a batch of its own?"""
    names = {part.fact.name.rpartition(".")[2] for part in job.parts}
    job.builds = bool(names & BUILDS) or any(key == "model" for part in job.parts for key, _ in part.said)
    old = any(part.fact.last and _older(part.fact.last) for part in job.parts)
    parses_onnx = any(part.fact.name.startswith("OnnxParser.") for part in job.parts)
    for place, part in enumerate(job.parts):
        if part.fact.name == "Builder.create_network" and ("implicit", "") in part.said and (not old or parses_onnx):
            job.parts[place] = replace(part, said=())


def _older(last: str) -> bool:
    return tuple(map(int, last.split("."))) <= tuple(map(int, OLD.split(".")))


def _enclosing_call(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.Call | None:
    above = parents.get(node)
    while above is not None and not isinstance(above, ast.Call):
        above = parents.get(above)
    return above


def _assigned_to(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.expr | None:
    above = parents.get(node)
    while above is not None and not isinstance(above, ast.Assign | ast.AugAssign | ast.AnnAssign):
        above = parents.get(above)
    return above.value if above is not None else None


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONG else f"{flat[: LONG - 1]}\N{HORIZONTAL ELLIPSIS}"
