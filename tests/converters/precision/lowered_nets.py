"""Networks that are lowered, for the tests of what becomes of them."""

from __future__ import annotations

from graphs import normal

NET = """
net (float[1,3,8,8] x) => (float[1,4] y)
{
    c1 = Conv <pads = [1, 1, 1, 1]> (x, w1)
    r1 = Relu (c1)
    c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2)
    s = Add (c2, r1)
    m = GlobalAveragePool (s)
    f = Flatten (m)
    y = Gemm (f, w3, b3)
}
"""
NET_WEIGHTS = {"w1": normal(4, 3, 3, 3), "w2": normal(4, 4, 3, 3, seed=1), "w3": normal(4, 4, seed=2), "b3": normal(4)}
IMAGE = {"x": normal(1, 3, 8, 8, seed=3)}


BRANCHES = """
net (float[1,4] x, bool flag) => (float[1,4] y)
{
    a = MatMul (x, w)
    i = If (flag) <
        then_branch = yes () => (float[1,4] out) { out = MatMul (a, v) },
        else_branch = no () => (float[1,4] out) { t = MatMul (a, w)  e = Exp (t)  out = MatMul (e, v) }
    >
    y = MatMul (i, w)
}
"""
