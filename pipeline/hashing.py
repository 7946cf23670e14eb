"""Hashes of values and of the code behind a stage: what keys are made from."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import metadata, util
from pathlib import Path

from enginesmith.converters.files import hash_file


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
    """Digest of a module's source and of all modules of ours that it imports, at any depth and at any place.

    So an edit rebuilds the stages that it can reach, and no others.
    """
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        spec = util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        path = Path(spec.origin)
        text = path.read_text()
        sources[name] = hashlib.sha256(text.encode()).hexdigest()
        for data in sorted(path.parent.glob("*.yaml")):
            sources[str(data.name)] = hash_file(data)
        waiting += _own_imports(text)
    return hash_value(sources)


def _own_imports(source: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("enginesmith.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("enginesmith."):
            assert node.module is not None
            found.append(node.module)
            # `from package import module` names a module too; `from module import thing` finds no spec and is dropped
            found += [f"{node.module}.{alias.name}" for alias in node.names if _is_package(node.module)]
    return [name for name in found if name not in ("enginesmith.pipeline",)]


@cache
def _is_package(module: str) -> bool:
    spec = util.find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None
