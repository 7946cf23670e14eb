"""Makes the helpers beside the tests importable; what a user's file does to `sys.path` and `sys.modules` ends with the
test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "pytest-of" in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
