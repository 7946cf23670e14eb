"""What all tests share: a store of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the whole session: what one test has built, the next one takes."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def _no_store_of_the_user(shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESMITH_STORE", str(shared_store))
