"""Names of TensorRT's API that an installed version lacks: whether it is too new for the program, or too old."""

from __future__ import annotations

import re

from enginesmith.compat.migrations.facts import facts, same_names

_PYTHON = re.compile(
    r"(?:'|<class ')?(?:tensorrt\w{0,20}\.){0,3}(?P<owner>[A-Z]\w{2,60})'?>?(?: object)? has no attribute '?(?P<name>\w{2,80})"
)
_MODULE = re.compile(r"module 'tensorrt\w{0,20}' has no attribute '(?P<name>[A-Z]\w{2,80})'")
_CPP = re.compile(
    r"nvinfer1::I?(?P<owner>[A-Z]\w{2,60})['\u2019] has no member named ['\u2018](?P<name>\w{2,80})['\u2019]"
)


def version_said(text: str) -> str:
    """Which side is too old where a line says that a class of TensorRT lacks a name; empty where that isn't known."""
    if found := _MODULE.search(text):
        return _of_module(found["name"])
    if found := _PYTHON.search(text):
        return _of_class(found["owner"], found["name"], found["name"])
    if found := _CPP.search(text):
        return _of_class(found["owner"], _snake(found["name"]), found["name"])
    return ""


def _of_class(owner: str, name: str, written: str) -> str:
    known = facts("python")
    for holder in (owner, f"I{owner}"):
        fact = known.get(f"{holder}.{name}")
        if fact is not None and fact.last:
            return f"{holder} has {written} up to TensorRT {fact.last}: the installed one is newer than the program" + (
                f" (now: {fact.now})" if fact.now else ""
            )
        if fact is not None or name in same_names().get(holder, ()):
            since = f" since {fact.since}" if fact is not None and fact.since else ""
            return f"{holder} has {written}{since} in newer releases of TensorRT: the installed one is older than the program"
    return ""


def _of_module(name: str) -> str:
    if name in same_names():
        return f"newer releases of TensorRT have {name}: the installed one is older than the program, or is not the whole package"
    return ""


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
