"""The errors that `vector_math` states, against float64."""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from enginesmith.converters.core.isolated import Isolated

ERF = np.vectorize(erf)
CASES: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    # reference, largest error relative to it, largest absolute error
    "exp": (np.exp, 2e-7, 0.0),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 5e-7, 2e-38),
    "silu": (lambda x: x / (1 + np.exp(-x)), 5e-7, 1e-6),
    "tanh": (np.tanh, 5e-7, 0.0),
    "erf": (ERF, 5e-7, 0.0),
    "gelu_tanh": (lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), 2e-6, 1e-6),
    "gelu": (lambda x: x / 2 * (1 + ERF(x / np.sqrt(2))), 2e-6, 1e-6),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_errors_are_as_stated(with_tvm: Isolated, tmp_path: Path, name: str) -> None:
    reference, relative, absolute = CASES[name]
    x = np.concatenate([np.linspace(-87, 87, 60_001), np.linspace(-4, 4, 40_001), np.geomspace(1e-20, 1, 999)])
    x = np.append(x, [0.0, -0.0] + [1.0] * (-(len(x) + 2) % 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    with_tvm.call("compiled:step", name, str(tmp_path), timeout=60)
    y, wanted = np.load(tmp_path / "y.npy"), reference(x.astype(np.float64))
    excess = np.abs(y - wanted) - absolute - relative * np.abs(wanted)
    worst = int(excess.argmax())
    assert excess[worst] <= 0, f"{name}({x[worst]}) is {y[worst]} instead of {wanted[worst]}"


@pytest.mark.parametrize("name", sorted(CASES))
def test_nan_and_extremes(with_tvm: Isolated, tmp_path: Path, name: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 100, -100, 0], np.float32)
    np.save(tmp_path / "x.npy", x)
    with_tvm.call("compiled:step", name, str(tmp_path), timeout=60)
    y = np.load(tmp_path / "y.npy")
    assert np.isnan(y[0])
    if name == "exp":
        assert y[1:3].tolist() == [np.inf, 0]
        assert y[5:8].tolist() == [np.inf, np.float32(np.exp(-100.0)), 1]
    elif name == "silu":
        np.testing.assert_allclose(y[1:7], [np.inf, np.nan, 1e30, 0, 100, 0], rtol=1e-6, atol=1e-6)  # inf times 0
    elif name not in ("gelu", "gelu_tanh"):
        low = {"sigmoid": 0.0, "tanh": -1.0, "erf": -1.0}[name]
        atol = 1e-6 if name == "sigmoid" else 0  # GELU multiplies 1 + tanh or 1 + erf of a large negative x by it
        np.testing.assert_allclose(y[1:7], [1, low, 1, low, 1, low], rtol=0, atol=atol)


def test_logarithm(with_tvm: Isolated, tmp_path: Path) -> None:
    x = np.concatenate([np.geomspace(1e-44, 3.4028234e38, 60_001), np.linspace(0.5, 2, 20_000)])
    x = np.append(x, [np.nan, np.inf, -np.inf, 0, -0.0, -1, 1]).astype(np.float32)
    np.save(tmp_path / "x.npy", np.append(x, np.ones(-len(x) % 8, np.float32)))
    with_tvm.call("compiled:step", "log", str(tmp_path), timeout=60)
    y = np.load(tmp_path / "y.npy")[: len(x)]
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.log(x.astype(np.float64))
    np.testing.assert_array_equal(y[-7:], wanted[-7:])
    assert (np.abs(y - wanted)[:-7] <= 2e-7 * np.maximum(1, np.abs(wanted[:-7]))).all()
