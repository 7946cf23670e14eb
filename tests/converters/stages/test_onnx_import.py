"""ONNX files from outside: their inputs, sizes, values and samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import FLOAT, INT64, gemm, model, node, save, tensor
from stages import compare, import_onnx, load_samples

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.samples import load_results
from enginesmith.converters.data.options import OwnOptions


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.UINT32])
def test_a_cast_to_integers_is_verified(kind: int, tmp_path: Path) -> None:
    """Ordinary floats are all 0 there, and negative ones none of unsigned integers."""
    cast = model([node("Cast", ["x"], ["y"], to=kind)], [tensor("x", FLOAT, [2, 5])], [tensor("y", kind, [2, 5])])
    facts = import_onnx(tmp_path / "out", save(cast, tmp_path))
    assert facts.doubt is None
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert (comparison.verdict, comparison.reason) == ("pass", "")
    shown = {sample.sample for sample in comparison.samples if not sample.vacuous}
    assert "small positive" in shown
    assert "positive up to a byte" in shown or kind == TensorProto.INT8


def test_import(tmp_path: Path) -> None:
    path = save(gemm(), tmp_path / "in")
    out = tmp_path / "out"
    facts = import_onnx(out, path, samples=3)
    assert facts.nodes == 1
    assert facts.task == "tensor"
    assert facts.weights is not None
    assert (facts.weights.origin, facts.weights.sha256) == ("model", hash_file(path))
    made = {entry.name for entry in out.iterdir()} - {
        "exact.json",
        "moved.json",
    }  # as far as the second witness came in time
    assert made == {"model.onnx", "samples.json", "inputs.json", "results.json"}
    _, feeds = load_samples(out)
    ((runner, results),) = load_results(out)
    assert runner == "ONNX Runtime, unoptimized"
    weights = numpy_helper.to_array(gemm().graph.initializer[0])
    for feed, result in zip(feeds, results, strict=True):
        np.testing.assert_allclose(result["y"], feed["x"] @ weights, rtol=1e-5)
    assert compare(tmp_path / "compared", out).verdict == "pass"


def test_dynamic_inputs(tmp_path: Path) -> None:
    path = save(gemm("n"), tmp_path / "in")
    with pytest.raises(UserError, match=r"input x has dynamic dimensions \(nx4\); give their sizes, such as SHAPE=x:"):
        import_onnx(tmp_path / "none", path)
    import_onnx(tmp_path / "out", path, "1..2..8x4")
    samples, feeds = load_samples(tmp_path / "out")
    assert [feed["x"].shape[0] for feed in feeds][:6] == [2, 2, 1, 8, 3, 2]
    assert [sample.optimum for sample in samples.samples][:6] == [True, True, False, False, False, True]
    assert {feed["x"].shape[0] for feed in feeds[6:]} == {2}, "probes are of the optimum shape"
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_an_unknown_size_written_as_minus_one(tmp_path: Path) -> None:
    path = save(gemm(-1), tmp_path / "in")
    with pytest.raises(UserError, match=r"dynamic dimensions \(\?x4\)"):
        import_onnx(tmp_path / "none", path)
    import_onnx(tmp_path / "out", path, "x:3x4")


def two_inputs() -> onnx.ModelProto:
    return model(
        [node("Gather", ["x", "ids"], ["y"])],
        [tensor("x", FLOAT, [20, 4]), tensor("ids", INT64, ["n"])],
        [tensor("y", FLOAT, ["n", 4])],
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("", r"input ids has dynamic dimensions \(n\)"),
        ("3", "doesn't have one input, so that each needs its name; it has x, ids"),
        ("z:3", "has no input 'z'; it has x, ids"),
        ("ids:3x1:int64", "the shape given for ids doesn't fit the model's n"),
        ("ids:3:int64 x:21x4", "the shape given for x doesn't fit the model's 20x4"),
        ("ids:3:int64 x:20..20..30x4", "the shape given for x doesn't fit the model's 20x4"),
        ("ids:3:int32", "input ids holds int64, not int32"),
    ],
)
def test_conflicts(tmp_path: Path, shape: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        import_onnx(tmp_path / "out", save(two_inputs(), tmp_path / "in"), shape)


def test_the_models_own_dtypes(tmp_path: Path) -> None:
    import_onnx(tmp_path / "out", save(two_inputs(), tmp_path / "in"), "ids:1..3..6")
    _, feeds = load_samples(tmp_path / "out")
    assert [*feeds[0]] == ["x", "ids"], "in the model's order"
    assert {feed["ids"].dtype.name for feed in feeds} == {"int64"}


def test_inputs_that_can_not_be_fed(tmp_path: Path) -> None:
    text = model(
        [node("Identity", ["x"], ["y"])], [tensor("x", TensorProto.STRING, [1])], [tensor("y", TensorProto.STRING, [1])]
    )
    with pytest.raises(UserError, match="input x is a object, which can't be fed"):
        import_onnx(tmp_path / "out", save(text, tmp_path / "in"))
    sequence = model(
        [node("SequenceLength", ["s"], ["y"])],
        [helper.make_tensor_sequence_value_info("s", FLOAT, None)],
        [tensor("y", INT64, [])],
    )
    with pytest.raises(UserError, match="input s is a sequence_type, which can't be fed"):
        import_onnx(tmp_path / "out2", save(sequence, tmp_path / "in2"))


def test_outputs_that_are_no_tensors(tmp_path: Path) -> None:
    sequence = model(
        [node("SequenceConstruct", ["x", "x"], ["s"])],
        [tensor("x", FLOAT, [2])],
        [helper.make_tensor_sequence_value_info("s", FLOAT, None)],
    )
    with pytest.raises(UserError, match="returns s as a sequence or a map"):
        import_onnx(tmp_path / "out", save(sequence, tmp_path / "in"))


def test_initializers_among_the_inputs(tmp_path: Path) -> None:
    """As IR version 3 had it: weights are no inputs to feed."""
    content = gemm(opset=8, ir=3)
    content.graph.input.append(tensor("w", FLOAT, [4, 300]))
    facts = import_onnx(tmp_path / "out", save(content, tmp_path / "in"))
    assert [info.name for info in facts.inputs] == ["x"]
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_no_inputs(tmp_path: Path) -> None:
    content = model(
        [node("Identity", ["w"], ["y"])], [], [tensor("y", FLOAT, [2])], [helper.make_tensor("w", FLOAT, [2], [1, 2])]
    )
    with pytest.raises(UserError, match=r"m\.onnx has no inputs"):
        import_onnx(tmp_path / "out", save(content, tmp_path / "in"))


def test_inputs_that_the_graph_refuses_when_it_runs(tmp_path: Path) -> None:
    content = model(
        [node("Add", ["x", "z"], ["y"])],
        [tensor("x", FLOAT, ["n"]), tensor("z", FLOAT, ["m"])],
        [tensor("y", FLOAT, ["k"])],
    )
    with pytest.raises(UserError, match=r"refuses the input x:3 z:4: .*; give the SHAPE that it takes, or inputs"):
        import_onnx(tmp_path / "out", save(content, tmp_path / "in"), "x:3 z:4")


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_whole_numbers_that_the_graph_takes_are_found(tmp_path: Path, operator: str) -> None:
    """Of the first ones that are tried some divide by zero."""
    whole = [tensor(name, INT64, [2, 6]) for name in ("x", "z")]
    import_onnx(
        tmp_path / "out",
        save(model([node(operator, ["x", "z"], ["y"])], whole, [tensor("y", INT64, [2, 6])]), tmp_path / "in"),
    )
    samples, feeds = load_samples(tmp_path / "out")
    assert all((feeds[index]["z"] > 0).all() for index in samples.ordinary())
    assert any((feed["z"] < 0).any() for feed in feeds)


def flattened() -> onnx.ModelProto:
    """x [b, c, h] to [b, c*h], with the batch taken from the shape, as exporters write it."""
    ints = {"zero": [0], "rest": [-1]}
    return model(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["b"]),
            node("Concat", ["b", "rest"], ["shape"], axis=0),
            node("Reshape", ["x", "shape"], ["y"]),
        ],
        [tensor("x", FLOAT, ["b", 3, "h"])],
        [tensor("y", FLOAT, ["b", "m"])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in ints.items()],
    )


def test_fixed_sizes_are_written_into_a_dynamic_graph(tmp_path: Path) -> None:
    facts = import_onnx(tmp_path / "out", save(flattened(), tmp_path), "x:2x3x5")
    assert facts.note.startswith("x:2x3x5 written into the graph")
    assert facts.ops == {"Reshape": 1}
    assert [info.shape for info in (*facts.inputs, *facts.outputs)] == [[2, 3, 5], [2, 15]]
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_a_range_stays_open_beside_a_fixed_size(tmp_path: Path) -> None:
    facts = import_onnx(tmp_path / "out", save(flattened(), tmp_path), "x:1..2..4x3x5")
    assert [info.shape for info in (*facts.inputs, *facts.outputs)] == [["b", 3, 5], ["b", "m"]]
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_a_graph_without_open_sizes_goes_on_as_it_is(tmp_path: Path) -> None:
    path = save(gemm(), tmp_path)
    facts = import_onnx(tmp_path / "out", path)
    assert "written" not in facts.note
    assert (tmp_path / "out" / "model.onnx").read_bytes() == path.read_bytes()


def test_fixed_sizes_with_weights_beside_the_graph(tmp_path: Path) -> None:
    path = save(gemm("n"), tmp_path, save_as_external_data=True, location="w.bin", size_threshold=0)
    facts = import_onnx(tmp_path / "out", path, "x:3x4")
    assert facts.inputs[0].shape == [3, 4]
    assert compare(tmp_path / "compared", tmp_path / "out").verdict == "pass"


def test_a_wrongly_declared_output_is_corrected(tmp_path: Path) -> None:
    content = gemm()
    content.graph.output[0].CopyFrom(tensor("y", FLOAT, []))
    facts = import_onnx(tmp_path / "out", save(content, tmp_path))
    assert facts.outputs[0].shape == [2, 300]
    assert any("declared for y" in warning for warning in facts.warnings)


def looked_up(rows: int, weights: int = 3) -> onnx.ModelProto:
    table = np.arange(rows * weights, dtype=np.float32).reshape(rows, weights)
    return model(
        [node("Gather", ["table", "ids"], ["y"])],
        [tensor("ids", INT64, ["n"])],
        [tensor("y", FLOAT, ["n", weights])],
        [numpy_helper.from_array(table, "table")],
    )


@pytest.mark.parametrize("rows", [3, 5000])
def test_indices_are_drawn_from_all_of_their_table(tmp_path: Path, rows: int) -> None:
    facts = import_onnx(tmp_path / "out", save(looked_up(rows), tmp_path / "in"), "ids:8..200..300")
    samples, feeds = load_samples(tmp_path / "out")
    drawn = np.concatenate([feeds[index]["ids"] for index in samples.ordinary()])
    assert drawn.min() >= 0
    assert (rows - 1) * 0.9 < drawn.max() < rows
    assert not facts.warnings


def test_a_users_samples_come_first_and_others_are_like_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", ids=np.array([[7, 7, 4999], [7, 40, 12]]))
    own = OwnOptions(spec=str(tmp_path / "mine.npz"))
    import_onnx(tmp_path / "out", save(looked_up(5000), tmp_path / "in"), "ids:3", samples=3, own=own)
    samples, feeds = load_samples(tmp_path / "out")
    names = [samples.samples[index].name for index in samples.ordinary()]
    assert names == ["mine.npz, row 0", "mine.npz, row 1", "derived 2", "mine.npz, row 0 again"]
    assert {*feeds[2]["ids"]} <= {7, 4999}


def test_a_made_up_sample_that_is_refused_is_left_out_with_a_note(tmp_path: Path) -> None:
    """The graph takes an even number of rows alone."""
    content = model(
        [node("Reshape", ["x", "shape"], ["r"]), node("ReduceSum", ["r"], ["y"], keepdims=0)],
        [tensor("x", FLOAT, ["n"])],
        [tensor("y", FLOAT, [])],
        [numpy_helper.from_array(np.array([2, -1], np.int64), "shape")],
    )
    facts = import_onnx(tmp_path / "out", save(content, tmp_path / "in"), "x:3..8..12")
    (warning,) = facts.warnings
    assert warning.startswith(
        "left out of the samples, since they were made up and are no input of the model: min size (refused:"
    )
    assert "SHAPE" not in warning
    samples, _ = load_samples(tmp_path / "out")
    assert "min size" not in [sample.name for sample in samples.samples]
    assert "max size" in [sample.name for sample in samples.samples]
