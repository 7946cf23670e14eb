"""MultiHeadAttention whose queries, keys and values lie in one tensor is the same as of three."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from one_node import one_node, proof, repaired
from onnx import TensorProto, helper

from enginesmith.converters.graphs.proof import difference, runner

REPAIR = "multi-head-attention-in-products"
FLOAT, INT32 = TensorProto.FLOAT, TensorProto.INT32
SIZES = {"batch": 2, "length": 5, "heads": 2, "size": 4}


def normal(*sizes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(sizes).astype(np.float32)


@pytest.mark.parametrize("packed", [3, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("attributes", [{}, {"unidirectional": 1, "scale": 0.3}])
def test_parts_of_one_tensor(packed: int, bias: bool, attributes: dict[str, float]) -> None:
    batch, length, heads, size = SIZES.values()
    parts = [normal(batch, length, heads * size, seed=seed) for seed in range(3)]
    whole = np.stack([part.reshape(batch, length, heads, size) for part in parts[3 - packed :]], axis=3)
    feed = {"x0": whole} if packed == 3 else {"x0": parts[0], "x1": whole}
    mask = np.array([3, 5], np.int32)
    more = [normal(3 * heads * size, seed=9) if bias else None, [batch]]

    def model(*inputs: np.ndarray | None) -> ir.Model:
        given = [None if each is None else list(each.shape) for each in inputs]
        kinds = [FLOAT] * 4 + [INT32]
        made = one_node("MultiHeadAttention", *given, *more, dtypes=kinds, outputs=[(FLOAT, [batch, length, heads * size])],
                        domain="com.microsoft", num_heads=heads, **attributes)  # fmt: skip
        made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        return made

    one = model(*feed.values(), *[None] * (3 - len(feed)))
    expected = runner(model(*parts))({**{f"x{place}": part for place, part in enumerate(parts)}, "x4": mask})
    after, _ = repaired(REPAIR, one)
    apart, reason = difference(expected, runner(ir.to_proto(after))({**feed, "x4": mask}), 1e-5)
    assert not reason, f"{reason}: {apart}"
    found = proof(REPAIR, one)
    assert found.ran
    assert found.agrees, found.reason
