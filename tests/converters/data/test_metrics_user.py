"""Metrics of the user's own."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from metric_cases import metric

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.data.metrics import load_metric, metric_sources


@pytest.fixture(autouse=True)
def _imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a user's file does to `sys.path` and `sys.modules` ends with the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("metric_of_test", None)


def user(folder: Path, body: str) -> str:
    (folder / "metric_of_test.py").write_text(f"import numpy as np\n{body}\n")
    return f"{folder}/metric_of_test.py:metric"


@pytest.mark.parametrize(
    "value",
    ["0.25", "np.float32(0.25)", "np.array(0.25)", "np.array([0.25])", "torch.tensor(0.25)", "np.mean([0, 0.5])"],
)
def test_a_metric_of_the_users(tmp_path: Path, value: str) -> None:
    found = metric(user(tmp_path, f"import torch\ndef metric(outputs, targets): return {value}"), ({}, {}, None))
    assert found.value() == 0.25
    assert found.name == "metric_of_test.py:metric"


def test_what_a_metric_of_the_users_is_given(tmp_path: Path) -> None:
    body = (
        "def metric(outputs, targets): return sum(float(o['y'][0]) * t for o, t in zip(outputs, targets, strict=True))"
    )
    reused = np.array([2.0])
    made = load_metric(user(tmp_path, body), "tensor", True)
    for target in (1, 10, 100):
        made.add({"y": reused}, {"y": reused}, target)
    reused[0] = 0
    assert made.value() == 222
    assert made.fresh().value() == 0
    body = "def metric(outputs, targets): return float(targets[0]['y'][0])"
    assert metric(user(tmp_path / "..", body), ({"y": np.ones(1)}, {"y": np.full(1, 7.0)}, None)).value() == 7


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def metric(outputs, targets): return float('nan')", "returned nan; it must return a finite number"),
        ("def metric(outputs, targets): return float('inf')", "returned inf; it must return a finite number"),
        ("def metric(outputs, targets): pass", "returned None; it must return a number, higher is better"),
        ("def metric(outputs, targets): return '0.5'", "returned a str; it must return a number"),
        ("def metric(outputs, targets): return True", "returned a bool; it must return a number"),
        ("def metric(outputs, targets): return np.bool_(True)", "returned a bool; it must return a number"),
        ("def metric(outputs, targets): return [0.5]", "returned a list; it must return a number"),
        ("def metric(outputs, targets): return np.ones(3)", "returned no single number: ValueError"),
        ("def metric(outputs): return 1", "metric failed: TypeError: .* takes 1 positional argument but 2 were given"),
        ("def metric(outputs, targets):\n    return outputs[0]['z']", r"failed: KeyError: 'z' \(metric_of_test.py:3\)"),
        ("def metrics(outputs, targets): return 1", "has no function 'metric'; it has metrics"),
    ],
)
def test_a_metric_of_the_users_that_is_wrong(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        metric(user(tmp_path, body), ({"y": np.ones(1)}, {"y": np.ones(1)}, None)).value()


def test_sources_of_a_metric(tmp_path: Path) -> None:
    for spec in ("", "top1", "map", "cosine"):
        assert metric_sources(spec) == {}
    spec = user(tmp_path, "raise RuntimeError('run')\ndef metric(outputs, targets): return 1")
    file = tmp_path / "metric_of_test.py"
    assert metric_sources(spec) == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}
    with pytest.raises(UserError, match=r"metric_of_test\.py has no function 'metrik'; it has metric"):
        metric_sources(f"{file}:metrik")
