"""Instance and group normalization against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_instance_and_group_normalization(agrees: Any) -> None:
    @QUICK
    @given(
        batch=st.integers(1, 2), groups=st.integers(1, 5), per_group=st.sampled_from([1, 3, 4, 8, 20]),
        size=st.tuples(st.integers(1, 9), st.integers(2, 9)), seed=st.integers(0, 99),
    )  # fmt: skip
    def property_holds(batch: int, groups: int, per_group: int, size: tuple[int, int], seed: int) -> None:
        """Groups that fill blocks, that share them and that run over their ends, of numbers far from zero."""
        rng = np.random.default_rng(seed)
        channels = groups * per_group
        told = agrees(
            f"(float[{batch}, 5, {size[0]}, {size[1]}] x) => (float[{batch}, 7, h, w] y) {{"
            " a = Conv (x, w1, bias) b = InstanceNormalization <epsilon = 0.01> (a, gain, shift) c = Relu (b)"
            " d = Reshape (c, grouped) e = InstanceNormalization (d, ones, zeros) f = Reshape (e, shape)"
            " g = Mul (f, gains) h = Add (g, shifts) i = LeakyRelu (h) y = Conv <pads = [1, 1, 1, 1]> (i, w2) }",
            {
                "w1": rng.standard_normal((channels, 5, 1, 1)),
                "bias": rng.uniform(-9, 9, channels),
                "gain": rng.standard_normal(channels),
                "shift": rng.standard_normal(channels),
                "grouped": np.array([batch, groups, -1]),
                "ones": np.ones(groups),
                "zeros": np.zeros(groups),
                "shape": np.array([batch, channels, *size]),
                "gains": rng.standard_normal((channels, 1, 1)),
                "shifts": rng.standard_normal((channels, 1, 1)),
                "w2": rng.standard_normal((7, channels, 3, 3)) / np.sqrt(9 * channels),
            },
            seed=seed,
        )
        assert told["kernels"] == {
            "convolution": 2,
            "instance norm": 1,
            "group norm": 1,
            "pack": told["kernels"].get("pack"),
            "unpack": 1,
        }
        assert not told["left"]

    property_holds()
