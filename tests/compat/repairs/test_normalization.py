"""Normalizations written out give what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable

FLOAT, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL


@settings(max_examples=20, deadline=None)
@given(
    st.integers(2, 4), st.integers(1, 3), st.lists(st.integers(2, 4), max_size=2),
    st.floats(0.1, 1), st.sampled_from([1e-5, 0.1]),
)  # fmt: skip
def test_batch_normalization_in_training(
    batch: int, channels: int, rest: list[int], momentum: float, epsilon: float
) -> None:
    model = one_node(
        "BatchNormalization", [batch, channels, *rest], *([channels] for _ in range(4)),
        outputs=[(FLOAT, ())] * 3, training_mode=1, momentum=momentum, epsilon=epsilon,
    )  # fmt: skip
    found = proof("batch-normalization-training", model)
    assert found.agrees, found.reason


def test_batch_normalization_in_inference_is_left_alone() -> None:
    with pytest.raises(NotApplicable, match="inference"):
        repaired("batch-normalization-training", one_node("BatchNormalization", [2, 3, 4], *[[3]] * 4))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_lp_normalization(p: int, axis: int) -> None:
    found = proof("lp-normalization", one_node("LpNormalization", [2, 3, 4], p=p, axis=axis))
    assert found.agrees, found.reason


@pytest.mark.parametrize("sizes", [[2, 3], ["n", 3]])
@pytest.mark.parametrize("training", [None, np.array(False), np.array(True)])
def test_dropout_that_drops_nothing(sizes: list[int | str], training: np.ndarray | None) -> None:
    ratio = np.array(0 if training is not None and training else 0.5, np.float32)
    model = one_node("Dropout", sizes, ratio, training, outputs=[(FLOAT, ()), (BOOL, ())])
    found = proof("dropout-inference", model)
    assert found.agrees, found.reason


def test_dropout_in_training_is_left_alone() -> None:
    with pytest.raises(NotApplicable, match="random"):
        repaired("dropout-inference", one_node("Dropout", [2], np.array(0.5, np.float32), np.array(True)))
    with pytest.raises(NotApplicable, match="at run time only"):
        repaired(
            "dropout-inference", one_node("Dropout", [2], np.array(0.5, np.float32), [], dtypes=[FLOAT, FLOAT, BOOL])
        )
