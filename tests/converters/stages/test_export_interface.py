"""Inputs and outputs of an export: their names, shapes and types, and those that can't be an engine's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from export_models import imports, models
from stages import compare, export, load_samples

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.samples import load_results
from enginesmith.converters.torch_models.outputs import flatten
from enginesmith.converters.torch_models.tensor_names import distinct

__all__ = ["imports", "models"]  # the fixtures


def test_factory_with_example_inputs(tmp_path: Path, models: Path) -> None:
    facts = export(tmp_path / "out", "with_example", path=models, exporter="torchscript")
    assert facts.inputs[0].shape == [2, 3, 16, 16]
    facts = export(tmp_path / "asked", "with_example", path=models, shape="1x3x8x8", exporter="torchscript")
    assert facts.inputs[0].shape == [1, 3, 8, 8], "SHAPE wins over the example"


def test_no_shape_at_all(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UserError, match="this model has no default shape; give SHAPE"):
        export(tmp_path / "out", "cnn", path=models)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_nested_outputs_and_their_names(tmp_path: Path, models: Path, exporter: str) -> None:
    """An output called like the input gets another name; None is left out."""
    facts = export(tmp_path / "out", "nested", path=models, shape="2x3", exporter=exporter)
    assert [info.name for info in facts.inputs] == ["x"]
    assert [info.name for info in facts.outputs] == ["x_", "list.0", "list.1.0", "pair.left", "pair.right", "same"]
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass"
    assert [output.name for output in comparison.samples[0].outputs] == [info.name for info in facts.outputs]


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_one_tensor_returned_twice_and_the_input_itself(tmp_path: Path, models: Path, exporter: str) -> None:
    facts = export(tmp_path / "out", "both", path=models, shape="2x3", exporter=exporter)
    assert [info.name for info in facts.outputs] == ["output0", "output1.0", "output1.1"]
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_names_that_would_collide() -> None:
    flat = flatten({"a.b": torch.zeros(1), "a": {"b": torch.zeros(1)}})[0]
    assert flat == ["a.b", "a.b"]
    assert distinct(flat, ["a.b_"]) == ["a.b", "a.b__"]


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nothing", "the model returns no tensor"),
        ("number", "the model returns no tensor"),
        ("odd_example", "the model's inputs hold no tensor"),
        ("complex_example", "the model refuses the input input:2x2 of yours"),
    ],
)
def test_what_can_not_be_an_engine(tmp_path: Path, models: Path, factory: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(tmp_path / "out", factory, path=models, shape="" if "example" in factory else "2x3")


def test_several_inputs_with_ids(tmp_path: Path, models: Path) -> None:
    """Given in another order than `forward` has them."""
    shape = "mask:1..2..4x7 ids:1..2..4x7:int64"
    facts = export(tmp_path / "out", "text", path=models, shape=shape)
    assert [(info.name, info.dtype, info.shape) for info in facts.inputs] == [
        ("ids", "int64", ["batch", 7]),
        ("mask", "float32", ["batch", 7]),
    ]
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass"
    assert {sample.shapes["ids"][0] for sample in comparison.samples} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("ids:2x7:int64 shift:2x8", "the model refuses the input ids:2x7 shift:2x8: TypeError: .*mask"),
        ("ids:2x7:int64 tokens:2x7", "inputs are ids, mask, scale, shift, not ids, tokens"),
        ("ids:2x7:int64", "the model refuses the input ids:2x7: TypeError: .*mask"),
        ("ids:2x7 mask:2x7", "the model refuses the input ids:2x7 mask:2x7"),
    ],
)
def test_wrong_inputs(tmp_path: Path, models: Path, shape: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(tmp_path / "out", "text", path=models, shape=shape)


def test_refused_while_seeding(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UserError, match="the model refuses the input input:1x4x16x16"):
        export(tmp_path / "out", "cnn", path=models, shape="1x4x16x16", weights="random")


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_dynamic_batch_and_size(tmp_path: Path, models: Path, exporter: str) -> None:
    shape = "1..2..5x3x16..32..64x16..24..48"
    facts = export(tmp_path / "out", "dense", path=models, shape=shape, exporter=exporter)
    assert [size for size in facts.inputs[0].shape if isinstance(size, int)] == [3]
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass", comparison.reason
    seen = {tuple(sample.shapes["x"]) for sample in comparison.samples}
    assert seen == {(2, 3, 32, 24), (1, 3, 16, 16), (5, 3, 64, 48), (3, 3, 41, 31)}


def test_a_baked_size_names_the_dimension_and_the_next_road_keeps_it(tmp_path: Path, models: Path) -> None:
    facts = export(tmp_path / "out", "baked", path=models, shape="1..2..4x3", exporter="dynamo")
    fixed, strict = facts.attempts
    assert re.match(
        r"dimension 0 of x was asked for as 1\.\.2\.\.4, but .* fixed it at 2 \(\w+\.py:\d+: .*", fixed.error
    )
    assert "int(" in fixed.error.splitlines()[0], "the line that makes it a number"
    assert (strict.tool, strict.error) == ("dynamo, strict", "")
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_a_baked_size_that_the_exporter_hides_fails_the_comparison(tmp_path: Path, models: Path) -> None:
    export(tmp_path / "out", "baked_inside", path=models, shape="1..2..4x3", exporter="torchscript")
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "fail"
    passed = {sample.sample: sample.passed for sample in comparison.samples}
    assert passed["random 0"]
    assert not passed["unseen size"]
    assert "'min size'" in comparison.reason


def test_a_baked_size_that_the_runtime_refuses(tmp_path: Path, models: Path) -> None:
    with pytest.raises(ConversionError, match="ONNX Runtime can't run the graph on the sample 'min size'") as caught:
        export(tmp_path / "out", "baked", path=models, shape="2..3..5x3", exporter="torchscript")
    assert "fixed" in caught.value.remedy


def test_an_output_that_the_next_call_overwrites(tmp_path: Path, models: Path) -> None:
    """It depends on no earlier call, so that it is no input."""
    facts = export(tmp_path / "out", "total", path=models, shape="1x3")
    assert facts.warnings == []
    ((_, results),) = load_results(tmp_path / "out")
    _, feeds = load_samples(tmp_path / "out")
    for feed, result in zip(feeds, results, strict=True):
        np.testing.assert_array_equal(result["output"], feed["x"])
