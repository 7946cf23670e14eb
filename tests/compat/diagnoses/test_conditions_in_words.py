"""Conditions as programs print them, told in words."""

from __future__ import annotations

import pytest

from enginesmith.compat.diagnoses import diagnose
from enginesmith.compat.diagnoses.conditions import in_words, is_prose, sentence_in
from enginesmith.compat.diagnoses.families import read_family


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("(inputs.size() == 3)", "the number of inputs must be 3"),
        ("inputs.at(2).is_weights()", "inputs 2 of the node (from 0) must be a constant of the model (an initializer)"),
        ("!isDynamic(oddDims)", "odd dims must be known when the model is parsed"),
        ("oddTensorPtr->getType() != nvinfer1::DataType::kINT32", "the type of odd tensor must not be INT32"),
        ("static_cast<int32_t>(oddVec.size()) == otherRank", "the number of odd must be other rank"),
        ('mode == "odd" || mode == "even"', 'mode must be "odd", or be "even"'),
        ("axis >= 0 && axis < nbDims", "axis must be at least 0, and axis must be less than the number of dims"),
        ("x.d[i] == 1 || x.d[i] == z.d[i]", "dimension i of x must be 1, or be dimension i of z"),
        ("weight.shape[0] == len(scale.shape)", "weight.shape[0] must be the number of dimensions of scale"),
        ("convertOddThing(a, &b)", "convert odd thing must succeed"),
        ("odd is not None", "odd must be there"),
    ],
)
def test_what_is_asked_for(condition, words):
    said = in_words(condition)
    # a shape's element may be written with or without the shape
    assert said in (words, words.replace("weight.shape[0]", "dimension 0 of weight"))


@pytest.mark.parametrize(
    "condition", ["", "std::any_of(a.begin(), a.end(), [](X const& x) { return x.odd(); })", "?" * 400]
)
def test_a_condition_of_no_known_form_is_left_alone(condition):
    assert in_words(condition) == ""


def test_the_sentence_in_a_condition_is_read_first():
    text = 'Assertion failed: (odds.size() == 2) && "The odd operator requires exactly 2 inputs."'
    assert sentence_in(text) == "The odd operator requires exactly 2 inputs."
    reading = read_family(text)
    assert reading is not None
    assert (reading.family, reading.details["stated"]) == ("requirement", "The odd operator requires exactly 2 inputs.")


def test_a_sentence_in_the_place_of_a_condition():
    assert is_prose("No valid odd tactic")
    assert not is_prose("odd == even")


@pytest.mark.parametrize(
    ("header", "op"),
    [
        ("ERROR: builtin_op_importers.cpp:76 In function importOdd:", "Odd"),
        ("odd_input:191 In function importInput:", ""),
        ("While parsing node number -1:", ""),
    ],
)
def test_the_reason_below_what_the_parser_announces_is_the_cause(header, op):
    explanation = diagnose(f"{header}\n[8] Assertion failed: (odds.size() == otherOdds)\n")
    assert explanation.cause is not None
    assert explanation.cause.reading is not None
    assert "the number of odds must be other odds" in explanation.cause.reading.cause
    assert (explanation.cause.op, explanation.cause.line.number) == (op, 2)
