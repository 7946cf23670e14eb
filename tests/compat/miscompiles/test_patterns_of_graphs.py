"""Each known miscompilation is known by its own small model, and not by one that is computed rightly."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from enginesmith.compat.checks import RULES, findings
from enginesmith.compat.graphs import infer
from enginesmith.compat.miscompiles import table
from enginesmith.compat.miscompiles.patterns import PATTERNS
from enginesmith.compat.target import Target


def warned(text: str, version: str, backend: str = "tensorrt") -> set[str]:
    model = infer(ir.from_proto(onnx.parser.parse_model(text)))
    names = {entry.id for entry in table()}
    return {found.rule for found in findings(model, Target(backend, version))} & names


@pytest.mark.parametrize("entry", table(), ids=lambda entry: entry.id)
def test_its_model_is_known_and_its_rule_only_warns(entry):
    version = next(part for part in entry.versions.split(",") if part.startswith(">=")).removeprefix(">=")
    assert entry.id in warned(entry.example, version)
    assert entry.id not in warned(entry.example, "8.6")
    assert entry.id not in warned(entry.example, "1.7", "tensorrt-rtx")
    assert (RULES[entry.id].severity, RULES[entry.id].silent) == ("warning", True)


def test_every_pattern_is_used():
    assert {entry.pattern for entry in table()} == set(PATTERNS)


HEADER = '<ir_version: 10, opset_import: ["" : 18]>'
ATTENTION = f"""{HEADER}
g (TYPE[BATCH, 2, 8, 4] q, TYPE[BATCH, 2, 4, 8] k, TYPE[BATCH, 2, 8, 4] v) => (TYPE[BATCH, 2, 8, 4] y) {{
  s = MatMul (q, k)
  w = Softmax <axis = -1> (s)
  y = MatMul (w, v)
}}
"""


def test_attention_in_float32_and_for_a_batch_is_not_meant():
    assert warned(ATTENTION.replace("TYPE", "float").replace("BATCH", "4"), "10.16") == set()
    half = ATTENTION.replace("TYPE", "float16").replace("BATCH", "4")
    assert warned(half, "10.16") == {"tensorrt-wrong-attention-sm-120"}


def test_reduced_keys_of_one_row_and_a_patch_embedding_are_not_meant():
    (entry,) = (entry for entry in table() if entry.pattern == "reduced_keys")
    assert entry.id not in warned(entry.example.replace("float[2,", "float[1,").replace("{2, 4", "{1, 4"), "11.1")
    patches = f"""{HEADER}
    g (float[2, 4, 8, 8] x, float[4, 4, 2, 2] c) => (float[2, 16, 16] y) <int64[3] flat = {{2, 4, -1}}> {{
      p = Conv <strides = [2, 2], kernel_shape = [2, 2]> (x, c)
      f = Reshape (p, flat)
      q = Transpose <perm = [0, 2, 1]> (f)
      s = MatMul (q, f)
      y = Softmax <axis = -1> (s)
    }}
    """
    assert warned(patches, "11.1") == set()


def test_sums_along_one_axis_are_not_meant():
    same = f"""{HEADER}
    g (float[4, 2] x) => (float[4, 2] z) <int64 rows = {{0}}> {{
      y = CumSum (x, rows)
      z = CumSum (y, rows)
    }}
    """
    assert warned(same, "10.12") == set()
