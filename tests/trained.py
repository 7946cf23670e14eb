"""Where the benchmarks' models with trained weights are."""

from __future__ import annotations

from pathlib import Path

TRAINED = Path(__file__).parents[1] / "benchmarks" / "trained"
