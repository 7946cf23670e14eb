"""Text that an ONNX file carries beside its graph, by key: `names`, `stride`, `author`, as its tools write it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path

NAMES = "names"
"""The key of the classes' names, as Ultralytics writes and reads them: a Python dict by number."""


def read(path: Path) -> dict[str, str]:
    """An ONNX file's `metadata_props`; weights beside it are not read."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    return {each.key: each.value for each in model.metadata_props}


def class_names(path: Path) -> list[str]:
    """Of an ONNX file's classes, by number; empty where its metadata doesn't say."""
    try:
        return parse_names(read(path).get(NAMES, ""))
    except ValueError:
        return []


def parse_names(text: str) -> list[str]:
    """Names of classes: one a line, a JSON list, or an object or a Python dict by number. Raises ValueError."""
    text = text.strip()
    if text[:1] not in ("[", "{"):
        return [line.strip() for line in text.splitlines()]
    try:
        try:
            found = json.loads(text)
        except ValueError:
            found = ast.literal_eval(text)
        if isinstance(found, Mapping):
            by_number = {int(key): str(name) for key, name in found.items()}
            return [by_number[number] for number in range(len(by_number))]
        return [str(name) for name in found]
    except (SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from None
