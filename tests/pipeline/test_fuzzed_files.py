"""A smaller run of benchmarks/fuzz.py: mutated files through `doctor`, by its rules."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from types import ModuleType

import onnx
import pytest

ROOT = Path(__file__).parents[2]
FILES = 60


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module("benchmarks.fuzz")


@pytest.fixture(scope="module")
def mutants(fuzz: ModuleType) -> ModuleType:
    return sys.modules["benchmarks.fuzz_mutants"]


def test_no_mutant_ends_in_a_mistake_of_ours(fuzz: ModuleType, mutants: ModuleType) -> None:
    counts = fuzz.run(mutants.files(random.SystemRandom().randrange(2**30), FILES, node_tests=False))
    assert counts.files == FILES
    assert counts.bad == []


def test_the_mutants_are_many_and_the_same_for_a_seed(mutants: ModuleType) -> None:
    first, again, other = ([*mutants.files(seed, 60, node_tests=False)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    sound = set(mutants.seeds(node_tests=False))
    assert sum(content in sound for _, content in first) < 6
    parsed = 0
    for _, content in first:
        try:
            parsed += bool(onnx.ModelProto.FromString(content).graph.node)
        except Exception:  # noqa: BLE001 - no protobuf any more
            continue
    assert parsed > 20, "most of them get further than the parser"


def test_what_must_not_be_is_counted(fuzz: ModuleType, mutants: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that can't fail says nothing."""
    sound = mutants.seeds(node_tests=False)[0]
    monkeypatch.setattr(fuzz, "EXAMINE", "os:abort")
    monkeypatch.setattr(fuzz, "SECONDS", 5)
    assert [kind for _, kind, _ in fuzz.run([(7, sound)]).bad] == ["internal error"]
    assert fuzz.controls("\x1b[31m")
    assert not fuzz.controls("plain\n")
