"""Elementwise operators with broadcast operands, tensors in another order, and concatenation, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enginesmith.converters.backends.tvm.kernels.views import View, nest

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@st.composite
def orders(draw: st.DrawFn) -> tuple[View, np.ndarray[Any, Any]]:
    """A view, and what NumPy makes of the same steps on numbers that count the places in memory."""
    shape = draw(sizes)
    view, array = View.whole(shape), np.arange(np.prod(shape)).reshape(shape)
    for step in draw(st.lists(st.sampled_from(["permute", "slice", "reshape", "broadcast"]), max_size=5)):
        if step == "permute":
            order = draw(st.permutations(range(array.ndim)))
            found, expected = view.permuted(order), array.transpose(order)
        elif step == "slice":
            axis = draw(st.integers(0, array.ndim - 1))
            start, stride = draw(st.integers(0, array.shape[axis] - 1)), draw(st.integers(1, 2))
            count = draw(st.integers(1, -(-(array.shape[axis] - start) // stride)))
            found = view.sliced(axis, start, count, stride)
            expected = array.take(range(start, start + count * stride, stride), axis)
        elif step == "reshape":
            first = draw(st.sampled_from([size for size in range(1, array.size + 1) if array.size % size == 0]))
            target = [first, array.size // first]
            found, expected = view.reshaped(target), array.reshape(target)
        else:
            target = [*draw(st.lists(st.just(2), max_size=1)), *(3 if size == 1 else size for size in array.shape)]
            found, expected = view.broadcast(target), np.broadcast_to(array, target)
        if found is not None:
            view, array = found, expected
    return view, array


@settings(max_examples=200, deadline=None)
@given(orders())
def test_views_hold_what_numpy_does(order: tuple[View, np.ndarray[Any, Any]]) -> None:
    view, array = order
    assert view.shape == array.shape
    loops = nest([view, View.whole(array.shape)])
    assert loops is not None
    places = np.array([[view.offset, 0]])
    for count, strides in loops:
        places = (places[:, None] + np.arange(count)[:, None] * np.array(strides)).reshape(-1, 2)
    found = np.empty(array.size, int)
    found[places[:, 1]] = places[:, 0]
    np.testing.assert_array_equal(found, array.ravel())
    assert not view.plain or array.ravel().tolist() == list(range(array.size))


def test_broadcast_operands(agrees: Any) -> None:
    @QUICK
    @given(shape=st.lists(st.integers(1, 21), min_size=1, max_size=4), data=st.data(), seed=st.integers(0, 99))
    def property_holds(shape: list[int], data: st.DataObject, seed: int) -> None:
        """Of fewer axes, and with axes of size 1; the first of them has none of the result's size."""
        rng = np.random.default_rng(seed)

        def part() -> list[int]:
            kept = [data.draw(st.sampled_from([1, size])) for size in shape]
            return kept[data.draw(st.integers(0, len(shape) - 1)) :]

        first, second, third = part(), part(), part()
        told = agrees(
            f"(float{first} x, float{second} z, float{shape} r) => (float{shape} y) {{ a = Mul (x, z) b = Add (c, a)"
            " d = Sigmoid (b) e = Sub (d, r) y = Mul (e, e) }",
            {"c": rng.standard_normal(third)},
            seed=seed,
        )
        assert not told["left"]

    property_holds()


def test_other_orders(agrees: Any) -> None:
    @QUICK
    @given(
        heads=st.integers(1, 3), width=st.integers(2, 18), length=st.integers(2, 19), batch=st.integers(1, 2),
        shift=st.integers(1, 3), seed=st.integers(0, 99),
    )  # fmt: skip
    def property_holds(heads: int, width: int, length: int, batch: int, shift: int, seed: int) -> None:
        """Heads cut from a product, rolled, transposed, and joined again; a number is also taken out."""
        rng = np.random.default_rng(seed)
        inner = heads * width
        told = agrees(
            f"(float[{batch}, {length}, 5] x) => (float[a, b, c] y, float[d, e] first, float[f, g, h] second) {{"
            " m = MatMul (x, w) s = Reshape (m, cut) t = Transpose <perm = [2, 0, 3, 1, 4]> (s)"
            " q = Gather <axis = 0> (t, zero) u, v = Split <axis = 0, num_outputs = 2> (t)"
            " k = Squeeze (v, axes) n = Transpose <perm = [0, 1, 3, 2]> (k) p = Transpose <perm = [0, 1, 3, 2]> (n)"
            " o = Mul (q, p) low = Slice (o, start, middle, two) high = Slice (o, middle, end, two)"
            " r = Concat <axis = 2> (high, low) back = Transpose <perm = [0, 2, 1, 3]> (r)"
            " y = Reshape (back, joined) last = Gather <axis = 1> (y, minus) first = Tanh (last)"
            " second = Transpose <perm = [2, 1, 0]> (y) }",
            {
                "w": rng.standard_normal((5, 2 * inner)),
                "cut": np.array([batch, length, 2, heads, width]),
                "zero": np.array(0),
                "minus": np.array(-1),
                "axes": np.array([0]),
                "two": np.array([2]),
                "start": np.array([0]),
                "middle": np.array([min(shift, length - 1)]),
                "end": np.array([length + shift]),
                "joined": np.array([batch, length, inner]),
            },
            seed=seed,
        )
        assert not told["left"]

    property_holds()


def test_orders_of_planes_in_blocks(agrees: Any) -> None:
    """What follows a convolution is read from its blocks: channels last, a head's rows, channels shuffled and split."""
    rng = np.random.default_rng(0)
    told = agrees(
        "(float[2, 3, 5, 7] x) => (float[2, 5, 7, 16] last, float[2, 35, 24] rows, float[2, 12, 5, 7] y, float[5, 7] z) {"
        " a = Conv <pads = [1, 1, 1, 1]> (x, w1) last = Transpose <perm = [0, 2, 3, 1]> (a)"
        " b = Conv (x, w2) c = Concat <axis = 1> (a, b) d = Reshape (c, flat) r = Transpose <perm = [0, 2, 1]> (d)"
        " rows = Add (r, bias) e = Reshape (c, pairs) f = Transpose <perm = [0, 2, 1, 3, 4]> (e) g = Reshape (f, back)"
        " h, i = Split <axis = 1, num_outputs = 2> (g) j = Conv (h, w3) y = Add (i, j)"
        " k = Gather <axis = 1> (a, nine) z0 = Gather <axis = 0> (k, one) z = Relu (z0)}",
        {
            "w1": rng.standard_normal((16, 3, 3, 3)),
            "w2": rng.standard_normal((8, 3, 1, 1)),
            "w3": rng.standard_normal((12, 12, 1, 1)),
            "bias": rng.standard_normal(24),
            "flat": np.array([2, 24, 35]),
            "pairs": np.array([2, 2, 12, 5, 7]),
            "back": np.array([2, 24, 5, 7]),
            "nine": np.array(9),
            "one": np.array(1),
        },
    )
    assert not told["left"]


def test_branches_that_meet_are_one_kernel(agrees: Any) -> None:
    """Each side of the subtraction, and of the product, is computed where it is read, broadcast operands and all."""
    told = agrees(
        "(float[3, 5, 1] x, float[1, 1, 9] z) => (float[3, 5, 9] y) {"
        " a = Min (x, z) b = Max (x, z) c = Sub (a, b) d = Relu (c)"
        " e = Add (x, z) f = Sub (x, z) g = Mul (e, f) h = Add (d, g) y = Tanh (h) }"
    )
    assert told == {"kernels": {"elementwise": 1}, "left": []}


def test_comparisons_that_become_numbers(agrees: Any) -> None:
    """In the chain that they are part of, NaN among what is compared; one that is wanted as a truth value stays."""
    told = agrees(
        "(float[3, 5, 1] x, float[1, 1, 9] z) => (float[3, 5, 9] y, float[3, 5, 9] m, bool[3, 5, 9] n) {"
        " a = Sqrt (x) b = Mul (a, z) c = Greater (b, half) d = Cast <to = 1> (c) y = Neg (d)"
        " n = Greater (x, z) e = Cast <to = 1> (n) m = Add (e, x) }",
        {"half": 0.5},
    )
    assert told["kernels"]["elementwise"] >= 2


def test_activations(agrees: Any) -> None:
    """Those that the frontend writes out, after a convolution and alone."""
    rng = np.random.default_rng(0)
    for inputs in ("(float[1, 3, 5, 7] x) => (float[1, 12, 5, 7] y) { a = Conv (x, w)",
                   "(float[1, 12, 5, 7] x) => (float[1, 12, 5, 7] y) { a = Mul (x, three)"):  # fmt: skip
        told = agrees(
            f"{inputs} b = PRelu (a, slopes) c = Elu (b) d = Selu (c) e = Mish (d) f = Softplus (e) g = HardSwish (f)"
            ' h = Gelu <approximate = "tanh"> (g)'
            " i = Softsign (h) j = HardSigmoid (i) "
            " l = Log (f) m = Pow (j, three) n = Ceil (l) o = Add (n, l) y = Mul (o, m) }",
            {"w": rng.standard_normal((12, 3, 1, 1)), "slopes": rng.standard_normal((12, 1, 1)), "three": 3.0},
            opset=20,
        )
        assert not told["left"]


def test_rows_shorter_than_a_vector(agrees: Any) -> None:
    """And the logarithm of a softmax, of numbers whose powers are too large."""
    rng = np.random.default_rng(0)
    told = agrees(
        "(float[3, 5, 11] x) => (float[3, 5, 6] y, float[3, 5, 11] z) { a = MatMul (x, w) s = Softmax <axis = -1> (a)"
        " y = LayerNormalization <axis = -1> (s, gain, shift) b = Mul (x, hundred) l = LogSoftmax <axis = -1> (b)"
        " z = Neg (l) }",
        {
            "w": rng.standard_normal((11, 6)),
            "gain": rng.standard_normal(6),
            "shift": rng.standard_normal(6),
            "hundred": 100.0,
        },
        name="x86-64-v3",
    )
    assert told["kernels"]["softmax"] == 2
    assert told["kernels"]["layer norm"] == 1
    assert not told["left"]


def test_convolutions_read_other_orders(agrees: Any) -> None:
    """Channels last, whole blocks of them and not; a slice of them; without a copy in between."""
    rng = np.random.default_rng(0)
    for channels in (16, 11):
        told = agrees(
            f"(float[2, 5, 7, {channels}] x) => (float[2, 9, 5, 6] y) {{ a = Transpose <perm = [0, 3, 1, 2]> (x)"
            " b = Conv <pads = [1, 1, 1, 1]> (a, w1) c = Slice (a, one, five, one) d = Conv <pads = [1, 1, 1, 1]> (c, w2)"
            " e = Add (b, d) y = Conv <pads = [0, 0, 0, 0]> (e, w3) }",
            {
                "w1": rng.standard_normal((8, channels, 3, 3)),
                "w2": rng.standard_normal((8, 4, 3, 3)),
                "w3": rng.standard_normal((9, 8, 1, 2)),
                "one": np.array([1]),
                "five": np.array([5]),
            },
        )
        assert "copy" not in told["kernels"]
        assert not told["left"]
