"""ONNX files from outside: what is taken, and one line of reason for what is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stages import compare, import_onnx, load_samples

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.samples import load_results
from enginesmith.converters.data.options import OwnOptions

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
tensor = helper.make_tensor_value_info
node = helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    ir: int = 9,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir)


def gemm(batch: int | str = 2, **how: Any) -> onnx.ModelProto:
    """x [batch, 4] times w [4, 300]."""
    weights = numpy_helper.from_array(np.arange(1200, dtype=np.float32).reshape(4, 300) / 1200, "w")
    return model(
        [node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", FLOAT, [batch, 4])],
        [tensor("y", FLOAT, [batch, 300])],
        [weights],
        **how,
    )


def save(content: onnx.ModelProto, folder: Path, **how: Any) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    onnx.save(content, str(folder / "m.onnx"), **how)
    return folder / "m.onnx"


def external(folder: Path, location: str = "w.bin") -> Path:
    """A model whose weights are in w.bin, which it says is at `location`."""
    path = save(gemm(), folder, save_as_external_data=True, location="w.bin", size_threshold=0)
    content = onnx.load(path, load_external_data=False)
    for entry in content.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(content.SerializeToString())
    return path


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its graph has no nodes"),
        (b"import torch\nprint('hello')\n", "a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "a Git LFS pointer; .*git lfs pull"),
        (b"\x80\x02}q\x00(X\x06\x00\x00\x00weight\xff\xff\xff\xff\xff" * 4, "no ONNX file"),
    ],
)
def test_no_onnx_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        import_onnx(tmp_path / "out", path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, share: float) -> None:
    path = save(gemm(), tmp_path / "in")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match="is no ONNX file"):
        import_onnx(tmp_path / "out", path)


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(UserError, match=r"m\.onnx has changed since the build was planned"):
        import_onnx(tmp_path / "out", tmp_path / "m.onnx")


def test_empty_graph(tmp_path: Path) -> None:
    path = save(model([], [tensor("x", FLOAT, [1])], [tensor("x", FLOAT, [1])]), tmp_path / "in")
    with pytest.raises(UserError, match="its graph has no nodes"):
        import_onnx(tmp_path / "out", path)


def test_external_data(tmp_path: Path) -> None:
    path = external(tmp_path / "in")
    out = tmp_path / "out"
    facts = import_onnx(out, path)
    data = tmp_path / "in" / "w.bin"
    assert facts.source_files == {str(data): hash_file(data)}, "an edit of the weights alone rebuilds"
    assert (out / "model.onnx.data").stat().st_size >= 4800
    assert (out / "model.onnx").stat().st_size < 1000
    data.unlink()
    assert compare(tmp_path / "compared", out).verdict == "pass", "the artifact stands by itself"


def test_external_data_in_a_constant_and_a_subgraph(tmp_path: Path) -> None:
    def branch(name: str, value: float) -> onnx.GraphProto:
        weights = numpy_helper.from_array(np.full(600, value, np.float32), f"{name}_w")
        return helper.make_graph(
            [node("Identity", [f"{name}_w"], [name])], name, [], [tensor(name, FLOAT, [600])], [weights]
        )

    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["flag"], to=TensorProto.BOOL),
        node("If", ["flag"], ["y"], then_branch=branch("a", 1), else_branch=branch("b", 2)),
    ]
    content = model(nodes, [tensor("x", FLOAT, [3])], [tensor("y", FLOAT, [600])])
    path = save(content, tmp_path / "in", save_as_external_data=True, location="w.bin", size_threshold=0)
    if not (tmp_path / "in" / "w.bin").exists():
        pytest.skip("this onnx keeps a subgraph's weights inside")
    import_onnx(tmp_path / "out", path)
    (tmp_path / "in" / "w.bin").unlink()
    assert compare(tmp_path / "compared", tmp_path / "out").verdict != "fail"


def test_missing_external_data(tmp_path: Path) -> None:
    path = external(tmp_path / "in")
    (tmp_path / "in" / "w.bin").unlink()
    with pytest.raises(UserError, match=r"the tensor w lies in w\.bin, which is missing; put it beside the model"):
        import_onnx(tmp_path / "out", path)


def test_truncated_external_data(tmp_path: Path) -> None:
    path = external(tmp_path / "in")
    data = tmp_path / "in" / "w.bin"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"w\.bin, which is truncated: it has 4799 bytes, and the model needs 4800"):
        import_onnx(tmp_path / "out", path)


@pytest.mark.parametrize("how", ["relative", "absolute", "inner", "symlink", "folder symlink"])
def test_external_data_outside_the_folder(tmp_path: Path, how: str) -> None:
    outside = tmp_path / "outside"
    external(outside)
    secret = outside / "w.bin"
    inside = tmp_path / "in"
    inside.mkdir()
    location = {"relative": "../outside/w.bin", "absolute": str(secret), "inner": "sub/../../outside/w.bin"}.get(
        how, "w.bin"
    )
    if how == "symlink":
        (inside / "w.bin").symlink_to(secret)
    if how == "folder symlink":
        (inside / "sub").symlink_to(outside)
        location = "sub/w.bin"
    path = inside / "m.onnx"
    content = onnx.load(outside / "m.onnx", load_external_data=False)
    for entry in content.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(content.SerializeToString())
    with pytest.raises(UserError, match=r"outside its folder: .*; put it beside the model"):
        import_onnx(tmp_path / "out", path)
    assert not list((tmp_path / "out").iterdir())


def test_invalid_graph(tmp_path: Path) -> None:
    wrong = model([node("Relu", ["missing"], ["y"])], [tensor("x", FLOAT, [1])], [tensor("y", FLOAT, [1])])
    with pytest.raises(UserError, match="reads missing, which nothing makes"):
        import_onnx(tmp_path / "out", save(wrong, tmp_path / "in"))


def test_newer_ir_version(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="IR version is 99"):
        import_onnx(tmp_path / "out", save(gemm(ir=99), tmp_path / "in"))


def test_newer_opset(tmp_path: Path) -> None:
    with pytest.raises((UserError, ConversionError), match="99") as caught:
        import_onnx(tmp_path / "out", save(gemm(opset=99), tmp_path / "in"))
    assert "\n" not in str(caught.value)


def test_custom_operator(tmp_path: Path) -> None:
    custom = model(
        [node("Magic", ["x"], ["y"], domain="my.own")],
        [tensor("x", FLOAT, [1])],
        [tensor("y", FLOAT, [1])],
        domains=["my.own"],
    )
    with pytest.raises(ConversionError, match=r"ONNX Runtime can't load m\.onnx: .*Magic") as caught:
        import_onnx(tmp_path / "out", save(custom, tmp_path / "in"))
    assert "custom operators" in caught.value.remedy


def test_a_function_of_the_models_own(tmp_path: Path) -> None:
    content = model(
        [node("Double", ["x"], ["y"], domain="local")],
        [tensor("x", FLOAT, [3])],
        [tensor("y", FLOAT, [3])],
        domains=["local"],
    )
    body = [node("Add", ["a", "a"], ["b"])]
    content.functions.append(helper.make_function("local", "Double", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    facts = import_onnx(tmp_path / "out", save(content, tmp_path / "in"))
    assert facts.ops == {"local.Double": 1, "Add": 1}


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
