"""GroupQueryAttention in standard operators: rows of different lengths, buffers, first words and further ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from one_node import proof, repaired

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.graphs import infer
from enginesmith.converters.graphs.proof import difference, runner

sys.path.append(str(Path(__file__).parents[3]))
from benchmarks.fused_forms_cases import Case, normal, one

REPAIR = "group-query-attention-in-products"
ANGLES = normal(16, 8)


def attending(batch: int, queries: int, past: int, ends: list[int], total: int, **attributes: int | float) -> Case:
    words = [normal(batch, queries, size, seed=seed) for seed, size in enumerate((64, 32, 32))]
    kept = [normal(batch, 2, past, 16, seed=seed) for seed in (4, 5)]
    lengths = [np.array(ends, np.int32) - 1, np.array(total, np.int32)]
    return one("GroupQueryAttention", [*words, *kept, *lengths], [np.cos(ANGLES), np.sin(ANGLES)], outputs=3, num_heads=4,
               kv_num_heads=2, opset=18, do_rotary=1, **attributes)  # fmt: skip


@pytest.mark.parametrize(
    ("batch", "queries", "past", "ends", "total"),
    [
        (2, 5, 0, [3, 5], 5),  # the first words, of rows of two lengths
        (2, 5, 8, [3, 5], 5),  # … into a buffer
        (2, 5, 5, [2, 5], 5),  # … which they fill
        (3, 1, 6, [7, 4, 1], 7),  # one word more, behind pasts of different lengths
        (2, 1, 10, [7, 4], 7),  # … in a buffer
        (1, 3, 10, [7], 7),
        (1, 3, 6, [9], 9),
        (1, 3, 6, [5], 9),  # of which some are none
    ],
)
@pytest.mark.parametrize("attributes", [{}, {"local_window_size": 2, "rotary_interleaved": 1, "softcap": 3.0}])
def test_rows_of_lengths(
    batch: int, queries: int, past: int, ends: list[int], total: int, attributes: dict[str, int | float]
) -> None:
    case = attending(batch, queries, past, ends, total, **attributes)
    after, _ = repaired(REPAIR, case.model)
    expected, found = (runner(model)(case.feeds[0]) for model in (case.model, ir.to_proto(after)))
    apart, reason = difference(expected, found, 1e-5)
    assert not reason, f"{reason}: {apart}"
    assert proof(REPAIR, case.model).agrees


def test_lengths_that_are_not_fixed_are_told() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(attending(1, 3, 6, [9], 9).model)
    model.graph.input[3].type.tensor_type.shape.dim[2].dim_param = "kept"
    with pytest.raises(NotApplicable, match="lengths are not fixed"):
        repaired(REPAIR, ir.to_proto(infer(ir.from_proto(model))))
