"""What all tests share: a store of their own, and how hypothesis searches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# examples anew each time at a desk, where a failure can be looked into; the same ones each time where a change lands
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the whole session: what one test has built, the next one takes."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def _no_store_of_the_user(shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESMITH_STORE", str(shared_store))
