"""An If whose branches differ in rank: what reads its result is computed in each of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from enginesmith.compat.graphs import infer
from enginesmith.compat.repairs.branches import MOST_READERS, if_same_rank
from enginesmith.compat.target import Target
from enginesmith.compat.values import rank
from enginesmith.compat.walk import subgraphs

MODEL = """
<ir_version: 9, opset_import: ["" : 18]>
main (bool c, float[2, 1, 3] x, float[6] w) => (float[6] y) <int64[1] one = {{1}}, int64[1] line = {{-1}}> {{
  some = If (c) <then_branch = t () => (float[2, 3] a) {{ a = Squeeze (x, one) }},
                 else_branch = e () => (float[2, 1, 3] b) {{ b = Relu (x) }}>
  {middle}
  y = Mul (flat, w)
}}
"""
CHAINS = {
    "at once": "flat = Reshape (some, line)",
    "after a few": "shifted = Neg (some) up = Exp (shifted) flat = Reshape (up, line)",
    "computed besides": "minus = Neg (w) flat0 = Reshape (some, line) flat = Add (flat0, minus)",
}


@pytest.mark.parametrize("chain", CHAINS)
def test_readers_go_into_the_branches(chain: str) -> None:
    given = onnx.parser.parse_model(MODEL.format(middle=CHAINS[chain]))
    model = infer(ir.from_proto(given))
    assert if_same_rank(model, Target("tvm", "0.27"))
    (node,) = [node for node in infer(model).graph if node.op_type == "If"]
    assert len({rank(branch.outputs[0]) for branch in subgraphs(node)}) == 1
    after = ir.to_proto(model)
    onnx.checker.check_model(after)
    draw = np.random.default_rng(0)
    feed = {"x": draw.standard_normal((2, 1, 3), np.float32), "w": draw.standard_normal(6, np.float32)}
    for c in (True, False):
        (expected,) = ReferenceEvaluator(given).run(None, {**feed, "c": np.array(c)})
        (found,) = ReferenceEvaluator(after).run(None, {**feed, "c": np.array(c)})
        np.testing.assert_array_equal(found, expected)


def test_a_result_that_two_read_is_left() -> None:
    given = onnx.parser.parse_model(
        MODEL.format(middle="s = Size (some) z = Cast <to = 1> (s) f = Reshape (some, line) flat = Add (f, z)")
    )
    assert if_same_rank(infer(ir.from_proto(given)), Target("tvm", "0.27")) == 0


def test_each_if_has_a_count_of_its_own() -> None:
    chains = []
    for name in ("one", "other"):
        tensors = [name, *(f"{name}_{count}" for count in range(MOST_READERS - 1))]
        chains.append(
            f"""{name} = If (c) <then_branch = {name}_then () => (float[6] {name}_a) {{ {name}_a = Neg (x) }},
                             else_branch = {name}_else () => (float[1, 6] {name}_b) {{ {name}_b = Unsqueeze (x, zero) }}>
            {" ".join(f"{after} = Neg ({before})" for before, after in pairwise(tensors))}
            {name}_flat = Reshape ({tensors[-1]}, line)"""
        )
    given = f"""<ir_version: 9, opset_import: ["" : 18]>
    main (bool c, float[6] x) => (float[6] y) <int64[1] zero = {{0}}, int64[1] line = {{-1}}> {{
        {" ".join(chains)} y = Mul (one_flat, other_flat)
    }}"""
    model = infer(ir.from_proto(onnx.parser.parse_model(given)))
    assert if_same_rank(model, Target("tvm", "0.27")) == 2 * MOST_READERS
