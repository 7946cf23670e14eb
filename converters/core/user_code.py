"""The user's own Python: functions by name, and their errors in one line."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from enginesmith.converters.core import live
from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.files import is_installed
from enginesmith.converters.core.processes import no_exit
from enginesmith.converters.core.user_files import SourceLoader, watch_imports, watched

OURS = f"{Path(__file__).parents[1]}/"


def function_from_file(path: Path, name: str) -> Callable[..., Any]:
    """The file is imported once: a model's factory and what trains it may share its classes. Raises UserError."""
    if path.suffix == live.FUNCTION:
        return guarded(lambda: live.read_function(path), f"{name} can't be loaded")  # type: ignore[no-any-return]
    watch_imports()
    known = sys.modules.get(path.stem)
    if getattr(known, "__file__", None) == str(path):
        return _attribute(known, name, str(path))
    sys.path.insert(0, str(path.parent))  # the file's own neighbours, as when it is run
    spec = importlib.util.spec_from_file_location(path.stem, path, loader=SourceLoader(path.stem, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    guarded(lambda: spec.loader.exec_module(module), f"{path} can't be imported")  # type: ignore[union-attr]
    return _attribute(module, name, str(path))


def function_from_module(ref: str) -> Callable[..., Any]:
    """`ref` is `package.module:function`; the working directory is searched too. Raises UserError."""
    watch_imports()
    module_name, _, name = ref.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    module = guarded(lambda: importlib.import_module(module_name), f"module {module_name} can't be imported")
    return _attribute(module, name, module_name)


CODE = (".py", live.FUNCTION)
"""Suffixes of files that a function can be in."""


def called(path: Path, function: str) -> str:
    """What a function of a file is called in a report."""
    return function if path.suffix == live.FUNCTION else f"{path.name}:{function}"


def check_defined(path: Path, name: str) -> None:
    """Look for a function in a file without importing it, so that the command line can. Raises UserError where it surely
    isn't there; a file that is no Python is the import's to complain of. A pickled function must be of this process.
    """
    if path.suffix == live.FUNCTION:
        if not live.is_made(path):
            raise UserError(
                f"{path} is a function of another process, whose pickle can run any code; give file.py:function"
            )
        return
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):
        return
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {(node.asname or node.name).partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
    defined = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    if not names.union(defined) & {name, "*", "__getattr__"}:
        raise UserError(f"{path} has no function {name!r}{_nearest(name, functions_of(path))}")


def functions_of(path: Path) -> list[str]:
    """Names of the functions of a Python file, without importing it; none where it is no Python."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError):
        return []
    return [node.name for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def _attribute(module: Any, name: str, where: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    own = [n for n, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == module.__name__]
    raise UserError(f"{where} has no function {name!r}{_nearest(name, own)}")


def _nearest(name: str, own: list[str]) -> str:
    near = difflib.get_close_matches(name, own, n=3, cutoff=0.3) or own[:5]
    return f"; it has {', '.join(near)}" if near else ""


def guarded(call: Callable[[], Any], what: str) -> Any:
    """Run the user's code; whatever it raises is one line with the place in that code, the traceback in the log."""
    try:
        with no_exit(), watched():
            return call()
    except UserError:
        raise
    except BaseException as error:  # noqa: BLE001 - a stranger's code may raise anything; Ctrl-C doesn't reach a worker
        traceback.print_exc()
        own = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith((OURS, "<string>", "<frozen")) and not is_installed(Path(frame.filename))
        ]
        place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
        raise UserError(f"{what}: {type(error).__name__}: {first_line(error)}{place}") from None
