"""What all tests share: a store of their own, and how hypothesis searches."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from enginesmith.converters.core.isolated import Isolated

# examples anew each time at a desk, where a failure can be looked into; the same ones each time where a change lands
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# `make test` runs two processes; two threads in each of them would wait for each other
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


# where it is noted which engines were built here; command lines that a test starts look there too
_state = tempfile.TemporaryDirectory(prefix="enginesmith-tests-")
os.environ["XDG_STATE_HOME"] = _state.name


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the whole session: what one test has built, the next one takes."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def _no_store_of_the_user(shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINESMITH_STORE", str(shared_store))


@pytest.fixture(scope="session")
def asked() -> Iterator[Isolated]:
    """One process for all that ask the real tools: TensorRT-RTX and TVM take seconds to import."""
    with Isolated(without_torch=True) as process:
        yield process
