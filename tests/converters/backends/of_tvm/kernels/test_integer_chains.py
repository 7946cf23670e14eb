"""Chains of elementwise operators that round to integers on the way: what comes after a rounding sees whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantized_graphs import ZEROS, Graph, Run

STEP = 2.0**-3
"""A quantum; the numbers before it are multiples of a sixteenth of it, so that everything is exact."""
MOST_STEPS = 7


class Chain:
    """Operators drawn one after the other; each reads any value there is so far."""

    def __init__(self, graph: Graph, draw: st.DataObject, start: str, kind: tuple[str, int]) -> None:
        self.graph, self.draw, self.kind = graph, draw.draw, kind
        self.floats, self.integers = [start], [self._rounded(start)]

    def _rounded(self, value: str) -> str:
        zero = np.array(self.kind[1], self.kind[0])
        return self.graph.node(
            "QuantizeLinear", value, self.graph.constant(np.float32(STEP)), self.graph.constant(zero)
        )

    def _float(self) -> str:
        return self.draw(st.sampled_from(self.floats[-3:]))

    def _integer(self) -> str:
        """A tensor, or a constant."""
        if self.draw(st.booleans()):
            return self.draw(st.sampled_from(self.integers[-3:]))
        return self.graph.constant(np.array(self.draw(st.integers(0, 9)), self.kind[0]))

    def _mask(self) -> str:
        compare = self.draw(st.sampled_from(["Greater", "Less"]))
        return self.graph.node(compare, self.draw(st.sampled_from(self.integers[-3:])), self._integer())

    def choose(self) -> None:
        self.floats.append(self.graph.node("Where", self._mask(), self._float(), self._float()))

    def step(self) -> None:
        graph, integers = self.graph, self.integers[-1]
        match self.draw(
            st.sampled_from(["scale", "add", "round", "clip", "largest", "mask", "choose", "back", "cast"])
        ):
            case "scale":
                self.floats.append(graph.node("Mul", self._float(), graph.constant(np.float32(0.5))))
            case "add":
                self.floats.append(graph.node("Relu", graph.node("Add", self._float(), self._float())))
            case "round":
                self.integers.append(self._rounded(self._float()))
            case "clip":
                low, high = (graph.constant(np.array(bound, self.kind[0])) for bound in (2, 7))
                self.integers.append(graph.node("Clip", integers, low, high))
            case "largest":
                op = self.draw(st.sampled_from(["Max", "Min"]))
                self.integers.append(graph.node(op, integers, self._integer()))
            case "mask":
                self.floats.append(graph.node("Cast", self._mask(), to=1))
            case "choose":
                self.choose()
            case "back":
                scale, zero = (
                    graph.constant(np.float32(STEP)),
                    graph.constant(np.array(self.kind[1], self.kind[0])),
                )
                self.floats.append(graph.node("DequantizeLinear", integers, scale, zero))
            case "cast":
                self.floats.append(graph.node("Cast", integers, to=1))


@pytest.mark.parametrize("planes", [True, False])
def test_what_follows_a_rounding_sees_whole_numbers(run: Run, planes: bool) -> None:
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data(), kind=ZEROS, seed=st.integers(0, 99))
    def property_holds(data: st.DataObject, kind: tuple[str, int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        graph = Graph((1, 8, 3, 5) if planes else (3, 20))
        x = (rng.integers(-40, 40, graph.shape) * STEP / 16).astype(np.float32)
        start = graph.node("Neg", "x")
        if planes:  # a convolution begins a chain in planes
            start = graph.node("Conv", "x", graph.constant(np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1)))
        chain = Chain(graph, data, start, kind)
        for _ in range(data.draw(st.integers(2, MOST_STEPS))):
            chain.step()
        if data.draw(st.booleans()):
            chain.choose()
        found, expected, _ = run(graph, [chain.floats[-1]], x)
        np.testing.assert_array_equal(found[0], expected[0])

    property_holds()


def test_a_comparison_of_integers_ends_the_chain_before_it(run: Run) -> None:
    """Numbers that differ, of which the integers don't."""
    graph = Graph((1, 8, 1, 4))
    weights = graph.constant(np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1))
    value = graph.node("Conv", "x", weights)
    given = graph.constant(np.float32(1)), graph.constant(np.int8(0))
    integers = graph.node("QuantizeLinear", value, *given)
    mask = graph.node("Greater", integers, graph.constant(np.int8(2)))
    one, other = (graph.constant(np.full((1, 1, 1, 1), number, np.float32)) for number in (5, -5))
    chosen = graph.node("Where", mask, graph.node("Mul", value, one), graph.node("Mul", value, other))
    x = np.tile(np.array([1.9, 2.1, 2.4, 3.0], np.float32), 8).reshape(graph.shape)
    found, expected, _ = run(graph, [chosen], x)
    assert (expected[0].reshape(8, 4)[0] > 0).tolist() == [False, False, False, True]
    np.testing.assert_array_equal(found[0], expected[0])
