"""Runs the engine on sample/inputs.npz and holds what it gives against sample/outputs.npz. Exit status 1 where it differs."""

import sys
from pathlib import Path

import numpy as np
from runner import Engine

SAMPLE = Path(__file__).resolve().parent / "sample"
TOLERANCE = 1e-3  # of the largest number: what another processor's order of additions may cost

given, expected = (dict(np.load(str(SAMPLE / f"{name}.npz"))) for name in ("inputs", "outputs"))
found = Engine()(given)
wrong = 0
for name, array in expected.items():
    same = found[name].shape == array.shape and found[name].dtype == array.dtype
    if same and array.dtype.kind == "f" and array.size:
        largest = np.abs(array[np.isfinite(array)]).max(initial=0)
        same = np.allclose(found[name], array, rtol=0, atol=TOLERANCE * largest + 1e-30, equal_nan=True)
    elif same:
        same = np.array_equal(found[name], array)
    print(f"{name} {array.dtype} {list(array.shape)}: {'as expected' if same else 'DIFFERS'}")
    wrong += not same
sys.exit(1 if wrong else 0)
