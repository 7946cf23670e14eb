"""Trained weights for tests, made once in a session's store."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

TRAINED = Path(__file__).parents[1] / "benchmarks" / "trained"
DIGITS = TRAINED / "digits.py"
"""`factory`, `calibration` and `evaluation` of the digits."""


def digits_weights(tmp: Path) -> Path:
    """A state dict for `digits.py:factory`, trained to 97 % at least. Seconds the first time."""
    sys.path.insert(0, str(TRAINED))
    import train

    from enginesmith.pipeline.job.store import Store

    weights, _ = train.weights("digits", Store(), progress=lambda text: None)
    return Path(shutil.copy(weights, tmp / "digits.pt"))
