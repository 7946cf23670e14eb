"""Col2Im, put together by a Gather or by a product, gives what ONNX's reference gives."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_node import Shape, one_node, repaired
from onnx.reference import ReferenceEvaluator
from onnxruntime import InferenceSession

from enginesmith.compat.building import NotApplicable


@settings(max_examples=40, deadline=None)
@given(
    axes=st.integers(1, 4), stride=st.integers(1, 2), dilation=st.integers(1, 2), before=st.integers(0, 2),
    after=st.integers(0, 2), kernel=st.integers(1, 3), at_run_time=st.booleans(), infinite=st.booleans(),
)  # fmt: skip
def test_blocks_make_an_image(
    axes: int, stride: int, dilation: int, before: int, after: int, kernel: int, at_run_time: bool, infinite: bool
) -> None:
    axes = min(axes, 3) if at_run_time else axes  # the matrix grows with all sizes
    image, block = [6, 7, 5, 3][:axes], [kernel, 2, 1, 2][:axes]
    room = [n + before + after - dilation * (k - 1) - 1 for n, k in zip(image, block, strict=True)]
    assume(min(room) >= 0)
    count = int(np.prod([n // stride + 1 for n in room]))
    elements = int(np.prod(block))
    told = [np.asarray(image, np.int64), np.asarray(block, np.int64)]
    sizes: list[Shape | np.ndarray] = [[axes], [axes]] if at_run_time else [*told]
    columns: list[int | str] = [2 if at_run_time else "n", 2 * elements, count]
    model = one_node(
        "Col2Im", columns, *sizes, dtypes=[1, 7, 7], outputs=[(1, [columns[0], 2, *image])],
        strides=[stride] * axes, dilations=[dilation] * axes, pads=[before] * axes + [after] * axes,
    )  # fmt: skip
    after_repair, _ = repaired("col2im-by-matrix" if at_run_time else "col2im-by-gather", model)
    rng = np.random.default_rng(count)
    x = rng.standard_normal((2, 2 * elements, count)).astype(np.float32)
    if infinite:
        x[rng.random(x.shape) < 0.1] = np.inf
        x[rng.random(x.shape) < 0.1] = -np.inf
        x.flat[0] = np.nan
    feed = {"x0": x, **({"x1": told[0], "x2": told[1]} if at_run_time else {})}
    # ONNX Runtime 1.31 computes dilated blocks of a volume in another way than the reference.
    with np.errstate(invalid="ignore"):
        expected = ReferenceEvaluator(model).run(None, feed)[0]
    found = InferenceSession(ir.to_proto(after_repair).SerializeToString()).run(None, feed)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_a_run_alone_tells_is_said() -> None:
    sizes = np.array([5, 5])
    late = one_node("Col2Im", ["n", 5, 5], sizes, [2], dtypes=[1, 7, 7], outputs=[(1, ["n", 1, 5, 5])])
    with pytest.raises(NotApplicable, match="run time"):
        repaired("col2im-by-gather", late)
    with pytest.raises(NotApplicable, match="not known"):
        repaired("col2im-by-matrix", late)
