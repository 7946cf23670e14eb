"""Sizes that a model takes only together are found by running it, and no others are linked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from enginesmith.converters.core.inputs import InputSpec, at, unseen
from enginesmith.converters.data.ties import settle
from enginesmith.pipeline.job.shapes import parse_shapes

Model = Callable[..., bool]
"""Does a model take inputs of these shapes?"""


def settled(shape: str, model: Model, names: Sequence[Sequence[int | str]] = ()) -> tuple[tuple[InputSpec, ...], int]:
    """The inputs, and how often the model was run."""
    runs = 0

    def accepts(specs: Sequence[InputSpec]) -> bool:
        nonlocal runs
        runs += 1
        return model(*(spec.opt for spec in unseen(specs)))

    found = settle(parse_shapes(shape), names, accepts)
    assert model(*(spec.opt for spec in unseen(found)))
    for place in ("min", "opt", "max"):
        assert [spec.opt for spec in at(found, place)] == [getattr(spec, place) for spec in parse_shapes(shape)]
    return found, runs


def forms(specs: Sequence[InputSpec]) -> list[list[str]]:
    return [[dim.form for dim in spec.dims] for spec in specs]


def test_first_axes_are_one_batch_only_where_unequal_sizes_fail() -> None:
    shape = "x:1..4..16x3 y:1..4..16x5"
    specs, runs = settled(shape, lambda x, y: True)
    assert (forms(specs), runs) == ([["", ""], ["", ""]], 1)
    specs, _ = settled(shape, lambda x, y: x[0] == y[0])
    assert forms(specs) == [["batch", ""], ["batch", ""]]


def test_no_more_is_linked_than_the_model_needs() -> None:
    shape = "x:1..4..16x3 y:1..4..16x5 z:1..4..16"
    specs, _ = settled(shape, lambda x, y, z: x[0] == z[0])
    assert forms(specs) == [["batch", ""], ["", ""], ["batch"]]


def test_a_sum_is_found_from_its_range() -> None:
    shape = "x:1x1..2..16x32,past:1x1..10..100x32,mask:1x1..2..16x2..12..116"
    specs, _ = settled(shape, lambda x, past, mask: mask[1:] == (x[1], x[1] + past[1]))
    assert forms(specs) == [["", "x_1", ""], ["", "past_1", ""], ["", "x_1", "x_1+past_1"]]


def test_the_names_of_the_graph_come_before_what_ranges_suggest() -> None:
    shape = "x:1..4..16x1..4..16 y:1..4..16"
    names = [["n", "m"], ["m"]]
    specs, _ = settled(shape, lambda x, y: x[1] == y[0], names)
    assert forms(specs) == [["", "m"], ["m"]]


def test_a_name_that_is_an_expression() -> None:
    shape = "x:1..4..16 past:1..8..32 mask:2..12..48"
    specs, _ = settled(shape, lambda x, past, mask: mask[0] == x[0] + past[0], [["s"], ["p"], ["p + s"]])
    assert forms(specs) == [["s"], ["p"], ["p + s"]]


def test_names_that_contradict_the_ranges_are_not_believed() -> None:
    specs, _ = settled("x:1..4..16 y:2..8..32", lambda x, y: y[0] == 2 * x[0], [["n"], ["n"]])
    assert forms(specs) == [["x_0"], ["2*x_0"]] or forms(specs) == [["batch"], ["2*batch"]]


@pytest.mark.parametrize(
    ("stride", "shape"), [(32, "x:1..2..4x64..320..640x64..256..640"), (4, "x:1..2..4x8..16..64x3")]
)
def test_multiples_where_nothing_else_is_taken(stride: int, shape: str) -> None:
    specs, _ = settled(shape, lambda x: x[1] % stride == 0)
    batch, height, _ = specs[0].dims
    assert (batch.step, height.step % stride) == (1, 0)


def test_what_the_user_has_linked_stays() -> None:
    specs, _ = settled("x:{n=1..4..16}x{m=1..4..16} y:{m}", lambda x, y: x[1] == y[0])
    assert forms(specs) == [["n", "m"], ["m"]]


def test_a_model_that_takes_no_other_size_ends_the_search() -> None:
    runs = 0

    def refuse(specs: Sequence[InputSpec]) -> bool:
        nonlocal runs
        runs += 1
        return False

    given = parse_shapes("x:1..4..16x8..16..64 y:1..4..16")
    assert settle(given, [["a", "b"], ["a"]], refuse) == given
    assert runs <= 6
