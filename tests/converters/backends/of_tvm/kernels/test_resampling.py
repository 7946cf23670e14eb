"""Resizing, padding and cropping of planes against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MODES = {
    "nearest": ["half_pixel", "asymmetric", "align_corners"],
    "linear": ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"],
    "cubic": ["half_pixel", "asymmetric", "align_corners"],
}


def between(agrees: Any, operator: str, size: tuple[int, int], batch: int = 1, **weights: Any) -> dict[str, Any]:
    """Check an operator of 19 planes between two convolutions, the second of which reads over the edge."""
    rng = np.random.default_rng(0)
    told = agrees(
        f"(float[{batch}, 3, {size[0]}, {size[1]}] x) => (float[{batch}, 8, h, w] y) {{ a = Conv (x, w1)"
        f" b = {operator} c = Relu (b) y = Conv <pads = [1, 1, 1, 1]> (c, w2) }}",
        {"w1": rng.standard_normal((19, 3, 1, 1)), "w2": rng.standard_normal((8, 19, 3, 3)) / 13, **weights},
    )
    assert not told["left"]
    kernels: dict[str, Any] = told["kernels"]
    return kernels


@pytest.mark.parametrize("mode", [*MODES])
def test_resizes(agrees: Any, mode: str) -> None:
    @QUICK
    @given(
        transformation=st.sampled_from(MODES[mode]), size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
        target=st.tuples(st.integers(1, 17), st.integers(1, 17)), batch=st.integers(1, 2),
        rounding=st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    )  # fmt: skip
    def property_holds(
        transformation: str, size: tuple[int, int], target: tuple[int, int], batch: int, rounding: str
    ) -> None:
        attributes = f'mode = "{mode}", coordinate_transformation_mode = "{transformation}"'
        if mode == "nearest":
            attributes += f', nearest_mode = "{rounding}"'
        kernels = between(agrees, f"Resize <{attributes}> (a, , , sizes)", size, batch,
                          sizes=np.array([batch, 19, *target]))  # fmt: skip
        assert kernels.get("resize", 0) + kernels.get("upsample", 0) == 1

    property_holds()


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pads(agrees: Any, mode: str) -> None:
    """Asymmetric, and with a number that isn't zero."""
    kernels = between(agrees, f'Pad <mode = "{mode}"> (a, pads{", fill" if mode == "constant" else ""})', (5, 9), 2,
                      pads=np.array([0, 0, 1, 3, 0, 0, 2, 0]), fill=np.float32(0.75))  # fmt: skip
    assert kernels["pad"] == 1


@pytest.mark.parametrize(("begins", "ends", "steps"), [([1, 2], [4, 9], [1, 3]), ([-1, -2], [-6, -99], [-1, -2])])
def test_crops(agrees: Any, begins: list[int], ends: list[int], steps: list[int]) -> None:
    kernels = between(agrees, "Slice (a, begins, ends, axes, steps)", (5, 9), 2, begins=np.array(begins),
                      ends=np.array(ends), axes=np.array([2, 3]), steps=np.array(steps))  # fmt: skip
    assert kernels["crop"] == 1
