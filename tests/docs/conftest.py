"""The pages build what other tests build too, and these say what is built and what comes from the store."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all pages."""
    return tmp_path_factory.mktemp("store-of-the-pages")
