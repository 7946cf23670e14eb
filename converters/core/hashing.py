"""Hashes of values and of the code behind a stage: what keys are made from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata, util
from pathlib import Path

from enginesmith.converters.core.files import hash_file

OURS = __name__.partition(".")[0]
DATA = ("*.yaml", "*.jpg", "*.npz", "*.pt")
"""Files beside a module that it may read."""
IMPORT = re.compile(r"^ *(?:from ([\w.]+) import (\([^)]*\)|.*)|import ([\w.]+))", re.MULTILINE)
"""A statement as our modules have it. A parser would take most of the time that a build from the store takes."""


def hash_value(value: object) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def hash_tree(files: Mapping[str, str]) -> str:
    """One digest for an artifact, from its files' names and digests."""
    return hash_value(dict(files))


def package_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of the installed ones among `packages`, without importing them."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def code_version(module: str) -> str:
    """Digest of a module's source and of all modules of ours that it imports, at any depth and at any place, with the
    data files beside them. So an edit rebuilds the stages that it can reach, and no others.
    """
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _own_file(name)
        if name in found or path is None:
            continue
        found[name], imports = _read(path)
        # importing a module runs the packages around it first
        waiting += [*(name + other if other.startswith(".") else other for other in imports), name.rpartition(".")[0]]
    return hash_value(found)


@cache
def plugin_version(module: str) -> str:
    """Digest of another's module and the whole package that it is in: while it is being written, its version says nothing.
    Empty where it is not installed.
    """
    spec = util.find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        return ""
    path = Path(spec.origin)
    files = path.parent.rglob("*.py") if spec.submodule_search_locations else [path]
    return hash_value({str(file.relative_to(path.parent)): hash_file(file) for file in files})


@cache
def _read(path: Path) -> tuple[str, list[str]]:
    """Digest of a module's source and data, and the modules of ours that it imports; a dot begins those within a package
    that imports all that it holds.
    """
    digests = {path.name: hash_file(path)}
    for pattern in DATA:
        digests |= {data.name: hash_file(data) for data in path.parent.glob(pattern)}
    found: list[str] = []
    text = path.read_text()
    for package, names, module in IMPORT.findall(text):
        # `from package import module` names a module too; what `from module import thing` makes is no file of ours
        found += [f"{package}.{name}" for name in re.findall(r"\w+", names)] + [package or module]
    found += re.findall(r'import_module\("([\w.]+)"\)', text)
    if "iter_modules(__path__)" in text:
        within = (*path.parent.glob("*.py"), *(inner.parent for inner in path.parent.glob("*/__init__.py")))
        found += [f".{other.stem}" for other in within if other != path]
    return hash_value(digests), [name for name in found if name.startswith((f"{OURS}.", "."))]


@cache
def _own_file(module: str) -> Path | None:
    """Source file of a module of ours. `find_spec` would import the packages around it, and with them torch."""
    top, _, rest = module.partition(".")
    part, _, inner = rest.partition(".")
    spec = util.find_spec(f"{top}.{part}") if top == OURS and part else None
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    place = package / inner.replace(".", "/")
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)
