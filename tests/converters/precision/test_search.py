"""The search, on a model of losses that add up: what it chooses, what it evaluates, how it ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.converters.core.records import LayerLoss, Search
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.layer_losses import Layer
from enginesmith.converters.precision.levels import counted, described
from enginesmith.converters.precision.mix import Mix
from enginesmith.converters.precision.mix_search import RAISED, REFINEMENTS, UNTRIED, harms, search
from enginesmith.converters.precision.trial import Ground, Outcome, Trials

BEST = "minmax" if Int8Options().method != "minmax" else "entropy"
"""A method that a search does not begin with."""
SPEED = {"fp32": 1.0, "fp16": 0.5, "int8": 0.25}


class Judge:
    """Stands for both judges: the model of losses is in `Model`."""

    def __init__(self, name: str, examples: int) -> None:
        self.name = name
        self.examples = examples
        self.baseline = 1.0


class Model(Trials):
    """Each layer costs so much of the metric in each precision; `best` is the method that halves the int8 losses."""

    def __init__(
        self, int8: dict[str, float], fp16: dict[str, float] | None = None, best: str = "", equalized: bool = False
    ) -> None:
        ground = Ground(SimpleNamespace(), None)  # type: ignore[arg-type]
        super().__init__(ground, ground if equalized else None, "sm_89", "", Path(), Path())
        self.int8 = int8
        self.fp16 = fp16 or dict.fromkeys(int8, 0.0)
        self.best = best
        self.refused: set[str] = set()
        self.full: list[Mix] = []
        self.quick: list[tuple[Mix, Int8Options]] = []

    def run(self, judge: Any, mix: Mix, options: Int8Options) -> Outcome:
        if judge.name == "all":
            self.full.append(mix)
        else:
            self.quick.append((mix, options))
        if self.refused & set(mix.int8):
            return Outcome(failed="refused")
        levels = dict.fromkeys(self.int8, mix.rest)
        levels |= dict.fromkeys(mix.wide, "fp32") | dict.fromkeys(mix.int8, "int8")
        factor = 0.5 if options.method == self.best else 1.0
        loss = sum(self._loss(name, level, factor) for name, level in levels.items())
        return Outcome(
            accuracy=1 - loss, error=loss, size=1, milliseconds=sum(SPEED[level] for level in levels.values())
        )

    def _loss(self, name: str, level: str, factor: float) -> float:
        return {"int8": self.int8[name] * factor, "fp16": self.fp16[name], "fp32": 0.0}[level]

    def wide(self) -> Outcome:
        return Outcome(accuracy=1, size=4, milliseconds=float(len(self.int8)))


def find(model: Model, budget: float, barred: tuple[str, ...] = (), **how: Any) -> tuple[Mix, Int8Options, Search]:
    layers = [
        Layer(name, "Conv", SPEED | {"bf16": 0.5}, "it is barred" if name in barred else "") for name in model.int8
    ]
    return search(model, Judge("all", 100), Judge("few", 8), layers, budget, **how)  # type: ignore[arg-type]


def chosen(record: Search) -> str:
    return next((found.name for found in record.candidates if found.chosen), "")


def test_the_lowest_precision_is_taken_where_it_is_good_enough() -> None:
    model = Model(dict.fromkeys("abcd", 0.001))
    mix, options, record = find(model, 0.01)
    assert mix == Mix(rest="fp16", int8=("a", "b", "c", "d"))
    assert options == Int8Options()
    assert [found.name for found in record.candidates] == ["4 fp16", "4 int8"]
    assert record.reference
    assert (record.reference.name, record.reference.loss, record.reference.chosen) == ("4 fp32", 0, False)
    assert chosen(record) == "4 int8"
    assert record.reasons == {}
    assert not model.quick, "nothing is to be ranked"


def test_a_loss_that_is_the_budget_is_within_it() -> None:
    mix, _, _ = find(Model({"a": 0.02}), 0.02)
    assert 1 - (1 - 0.02) > 0.02
    assert mix.int8 == ("a",)


def test_one_harmful_layer_alone_is_raised() -> None:
    model = Model({**dict.fromkeys("abcdefgh", 0.0001), "x": 0.2})
    mix, _, record = find(model, 0.005)
    assert set(mix.int8) == set("abcdefgh")
    assert record.reasons == {"x": RAISED.format("int8")}
    assert record.layers[0].node == "x"
    assert record.layers[0].loss == pytest.approx(0.2)


def test_the_best_calibration_is_found_and_kept() -> None:
    model = Model(dict.fromkeys("abcd", 0.003), best=BEST)
    mix, options, record = find(model, 0.0065)
    assert options.method == BEST
    assert len(mix.int8) == 4
    assert record.options == described(options)
    assert chosen(record) == f"4 int8 ({described(options)})"


def test_equalized_graphs_are_tried_only_where_there_is_one() -> None:
    for equalized in (False, True):
        model = Model(dict.fromkeys("abcd", 0.003), equalized=equalized)
        find(model, 0.001)
        assert any(options.equalize for _, options in model.quick) == equalized


def test_layers_that_sixteen_bits_hurt_stay_in_float32_and_the_others_go_to_int8() -> None:
    model = Model(dict.fromkeys("abcdef", 0.0001), fp16={**dict.fromkeys("abcde", 0.0), "f": 0.3})
    mix, _, record = find(model, 0.005)
    assert mix == Mix(rest="fp16", int8=("a", "b", "c", "d", "e"), wide=("f",))
    assert record.reasons == {"f": RAISED.format("fp16")}
    assert (record.layers[0].node, record.layers[0].precision) == ("f", "fp16")


def test_without_sixteen_bits_it_chooses_between_integers_and_float32() -> None:
    """What an engine would compute in float32 isn't judged as if it rounded."""
    model = Model({**dict.fromkeys("abcd", 0.0001), "x": 0.2}, fp16=dict.fromkeys("abcdx", 0.1))
    mix, _, record = find(model, 0.005, barred=("d",), rest="fp32")
    assert mix == Mix(rest="fp32", int8=("a", "b", "c"))
    assert {tried.rest for tried in model.full} == {"fp32"}
    assert [found.name for found in record.candidates][:2] == ["5 fp32", "4 int8, 1 fp32"]
    assert record.reasons == {"x": RAISED.format("int8"), "d": "it is barred"}
    assert set(record.precisions.values()) == {"int8", "fp32"}


def test_a_model_that_was_trained_in_int8_may_lose_less_in_it_than_in_sixteen_bits() -> None:
    mix, _, record = find(Model({"a": 0.001}, fp16={"a": 0.05}), 0.01)
    assert mix.int8 == ("a",)
    assert chosen(record) == "1 int8"


def test_a_budget_that_nothing_meets_gives_the_best_and_chooses_none() -> None:
    model = Model(dict.fromkeys("abc", 0.1), fp16=dict.fromkeys("abc", 0.02))
    mix, _, record = find(model, 0.001)
    assert chosen(record) == ""
    assert len(mix.wide) == 2
    assert min(found.loss for found in record.candidates) == pytest.approx(0.02)


def test_barred_layers_are_never_quantized_and_say_why() -> None:
    model = Model(dict.fromkeys("abc", 0.0))
    mix, _, record = find(model, 0.01, barred=("b",))
    assert mix.int8 == ("a", "c")
    assert record.reasons == {"b": "it is barred"}


def test_a_model_without_anything_for_int8_is_left_in_sixteen_bits() -> None:
    mix, _, record = find(Model({"a": 0.0}), 0.01, barred=("a",))
    assert mix == Mix(rest="fp16")
    assert chosen(record) == "1 fp16"


def test_a_layer_that_is_refused_costs_no_more_than_itself() -> None:
    model = Model(dict.fromkeys("abcdefgh", 0.0001))
    model.refused = {"c"}
    mix, _, record = find(model, 0.01)
    assert set(mix.int8) == set("abdefgh")
    assert any("refused" in found.name for found in record.candidates)
    assert "c" not in {found.node for found in record.layers}


def test_stop_keeps_the_best_so_far() -> None:
    model = Model({**dict.fromkeys("abcdefgh", 0.0001), "x": 0.2})
    mix, _, record = find(model, 0.005, stop=lambda: len(model.full) == 2)
    assert record.stopped == "at the user's request"
    assert mix == Mix(rest="fp16")
    assert chosen(record) == "9 fp16"


def test_stopped_before_int8_was_tried_says_so() -> None:
    model = Model(dict.fromkeys("ab", 0.0))
    _, _, record = find(model, 0.01, stop=lambda: bool(model.full))
    assert set(record.reasons.values()) == {UNTRIED}


def test_no_time_at_all_chooses_nothing() -> None:
    mix, _, record = find(Model(dict.fromkeys("ab", 0.0)), 0.01, seconds=-1.0)
    assert mix == Mix(rest="fp32")
    assert record.candidates == []
    assert chosen(record) == ""
    assert record.stopped.startswith("after 0 of -1 s")


@given(
    st.lists(st.sampled_from([0.0, 0.0001, 0.001, 0.004, 0.02]), min_size=1, max_size=24),
    st.sampled_from([0.0, 0.0005, 0.005, 0.05]),
)
@settings(deadline=None, max_examples=60)
def test_what_is_chosen_is_within_the_budget_and_about_the_fastest_there_is(losses: list[float], budget: float) -> None:
    model = Model({f"layer {index}": loss for index, loss in enumerate(losses)})
    mix, _, record = find(model, budget)
    assert mix in model.full, "only what was evaluated is chosen"
    assert len(model.full) <= 3 + len(losses).bit_length() + REFINEMENTS
    assert len({mix.model_dump_json() for mix in model.full}) >= len(model.full) - 1, "evaluated twice"
    assert sum(model.int8[name] for name in mix.int8) <= budget + 1e-12
    best, spent = 0, 0.0
    for loss in sorted(losses):
        spent += loss
        best += spent <= budget
    assert len(mix.int8) >= best - 1, "of equal layers, as many are lowered as the budget lets"
    for name in set(model.int8) - set(mix.int8):
        assert record.reasons[name] == RAISED.format("int8")


def test_errors_add_up_as_squares_and_losses_stand_in_where_there_are_none() -> None:
    def layer(node: str, loss: float, error: float) -> LayerLoss:
        return LayerLoss(node=node, op="Conv", precision="int8", loss=loss, error=error)

    assert harms([layer("a", 0.0, 0.3), layer("b", 0.1, 0.1)]) == pytest.approx({"a": 0.9, "b": 0.1})
    assert harms([layer("a", 0.3, 0), layer("b", -0.1, 0)]) == pytest.approx({"a": 1, "b": 0})
    assert harms([layer("a", 0, 0)]) == {"a": 0}


def test_counts_name_what_there_is() -> None:
    assert counted({"a": "int8", "b": "fp16", "c": "int8"}) == "2 int8, 1 fp16"
    assert described(Int8Options(method="mse", correct_bias=False, equalize=True)) == "mse, equalized"
