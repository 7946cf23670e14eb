"""Machine code for targets that this machine may not be: vectors as wide as theirs, sums that stay in registers."""

from __future__ import annotations

import re

import pytest

from enginesmith.converters.isolated import Isolated

MULTIPLY_ADD = {
    "x86-64-v3": r"\tvfmadd\w+ps\t.*%ymm",
    "x86-64-v4": r"\tvfmadd\w+ps\t.*%zmm",
    "aarch64-linux-gnu": r"\tfmla\tv\d+\.4s",
}
"""Of a vector that fills a register."""


@pytest.mark.parametrize("target", sorted(MULTIPLY_ADD))
def test_inner_loop_is_vectors_of_the_target(with_tvm: Isolated, target: str) -> None:
    code = with_tvm.call("compiled:assembly", target, timeout=60)
    found = len(re.findall(MULTIPLY_ADD[target], code))
    stack = r"\((%rsp|%rbp)\)|\[sp"
    assert found >= 48
    # A sum that doesn't fit the registers is stored and loaded around every multiplication.
    assert len(re.findall(stack, code)) < found
