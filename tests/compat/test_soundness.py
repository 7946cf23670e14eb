"""Files that no graph is in, though protobuf reads them: each is refused with one line, and what is sound is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from enginesmith.compat.interface import KEY, ROWS, changed
from enginesmith.compat.loading import load, read

TEXT = """<ir_version: 9, opset_import: ["" : 18]>
sound (float[1, 4] x, bool c) => (float[1, 4] y) <float[4] w = {1, 2, 3, 4}> {
  a = Add (x, w)
  y = If (c) <then_branch = t () => (float[1, 4] p) { p = Relu (a) }, else_branch = e () => (float[1, 4] q) { q = Neg (a) }>
}"""
Change = Callable[[onnx.ModelProto], object]


def written(folder: Path, change: Change) -> Path:
    model = onnx.parser.parse_model(TEXT)
    change(model)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def external(location: str, offset: str = "", length: str = "") -> Change:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        for name in ("float_data", "raw_data"):
            tensor.ClearField(name)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            if value or key == "location":
                tensor.external_data.add(key=key, value=value)

    return change


def setting(path: str, value: object) -> Change:
    """`graph.node.0.op_type`, set; or added to where it is a list."""

    def change(model: onnx.ModelProto) -> None:
        place: object = model
        *way, last = path.split(".")
        for step in way:
            place = place[int(step)] if step.isdigit() else getattr(place, step)  # type: ignore[index]
        if last.isdigit():
            place[int(last)] = value  # type: ignore[index]
        else:
            setattr(place, last, value)

    return change


SIZE = "graph.input.0.type.tensor_type.shape.dim.0.dim_value"
BAD: dict[str, tuple[Change, str]] = {
    "a name with a zero": (setting("graph.node.0.name", "a\0b"), "zero byte"),
    "an input with a zero": (setting("graph.input.0.name", "x\0"), "zero byte"),
    "a long name": (setting("graph.node.0.name", "n" * 10**6), "1000000 characters"),
    "a negative size": (setting(SIZE, -7), "a size of x is negative"),
    "a huge size": (setting(SIZE, 2**62), "more elements than any memory"),
    "an unknown dtype": (setting("graph.input.0.type.tensor_type.elem_type", 77), "dtype 77 of x"),
    "a tensor's unknown dtype": (setting("graph.initializer.0.data_type", 77), "dtype 77 of the tensor w"),
    "a tensor's negative size": (setting("graph.initializer.0.dims.0", -4), "can't have the shape -4"),
    "a tensor that is too short": (setting("graph.initializer.0.dims.0", 2**43), "4 elements, where its shape has"),
    "raw data that is too short": (
        setting("graph.initializer.0.raw_data", b"1234"),
        "4 bytes, where its shape takes 16",
    ),
    "no opset": (lambda m: m.ClearField("opset_import"), "which opset"),
    "opset 999": (setting("opset_import.0.version", 999), "opset 999"),
    "opset 0": (setting("opset_import.0.version", 0), "opset 0"),
    "an IR version that is none": (setting("ir_version", 0), "IR version is 0"),
    "an IR version of tomorrow": (setting("ir_version", 999), "IR version is 999"),
    "no outputs": (lambda m: m.graph.ClearField("output"), "no outputs"),
    "an output of nobody's": (setting("graph.output.0.name", "z"), "the output z of the graph is made by nothing"),
    "an input of nobody's": (setting("graph.node.0.input.1", "z"), "reads z, which nothing makes"),
    "an inner input of nobody's": (
        lambda m: setting("node.0.input.0", "z")(m.graph.node[1].attribute[0].g),
        "reads z, which nothing makes",
    ),
    "an input that is written": (setting("graph.node.0.output.0", "x"), "writes x, which it is given"),
    "maps": (lambda m: m.graph.output[0].type.sequence_type.elem_type.map_type.SetInParent(), "y holds maps"),
    "two inputs of one name": (setting("graph.input.1.name", "x"), "two inputs of the graph are called x"),
    "a missing file": (external("w.bin"), "w.bin, which is missing"),
    "a file outside": (external("../w.bin"), "outside its folder"),
    "an absolute path": (external("/etc/passwd"), "outside its folder"),
    "no file": (external(""), "names no file"),
    "a folder": (external("."), "no regular file"),
    "a zero in a path": (external("w\0.bin"), "names no file"),
    "a negative offset": (external("m.onnx", "-4", "16"), "offset '-4'"),
    "an offset that is no number": (external("m.onnx", "0x10"), "offset '0x10'"),
    "an offset behind the end": (external("m.onnx", "100000", "16"), "truncated"),
    "a huge length": (external("m.onnx", "0", "9" * 30), "length '9"),
    "a length that is too short": (external("m.onnx", "0", "8"), "8 bytes in m.onnx, where its shape takes 16"),
}


@pytest.mark.parametrize("what", BAD)
def test_files_that_are_refused(what: str, tmp_path: Path) -> None:
    change, message = BAD[what]
    model, found = load(written(tmp_path, change))
    assert model is None
    assert any(message in finding.message for finding in found), [finding.message for finding in found]


def test_a_sound_file(tmp_path: Path) -> None:
    model, found = load(written(tmp_path, lambda model: None))
    assert model is not None
    assert found == []


def test_no_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "m.fifo")
    assert "no regular file" in read(tmp_path / "m.fifo")[1][0].message
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "w.bin").write_bytes(bytes(16))
    os.link(tmp_path / "w.bin", tmp_path / "hard")
    for location, message in (("fifo", "no regular file"), ("link", "a link to /etc/passwd"), ("hard", "hard links")):
        _, found = load(written(tmp_path, external(location)))
        assert message in found[0].message
    (tmp_path / "hard").unlink()
    model, found = load(written(tmp_path, external("w.bin")))
    assert model is not None
    assert found == []


def test_external_data_where_tools_do_not_look(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))

    def change(model: onnx.ModelProto) -> None:
        tensor = TensorProto(name="s", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="w.bin")
        sparse = model.graph.sparse_initializer.add(dims=[4])
        sparse.values.CopyFrom(tensor)
        sparse.indices.CopyFrom(onnx.helper.make_tensor("", TensorProto.INT64, [4], [0, 1, 2, 3]))

    assert any("of a sparse" in finding.message for finding in load(written(tmp_path, change))[1])


@pytest.mark.parametrize("places", [[0, 1, 2, 4], [-1, 0, 1, 2], [0, 1]])
def test_sparse_indices_outside(places: list[int], tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        sparse = model.graph.sparse_initializer.add(dims=[4])
        sparse.values.CopyFrom(onnx.helper.make_tensor("s", TensorProto.FLOAT, [4], [1.0] * 4))
        sparse.indices.CopyFrom(onnx.helper.make_tensor("", TensorProto.INT64, [len(places)], places))

    model, found = load(written(tmp_path, change))
    assert model is None
    assert "sparse tensor s" in found[0].message


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 18, "f" : 1]>
    main (float[4] x) => (float[4] y) { y = f.one (x) }
    <domain: "f", opset_import: ["" : 18, "f" : 1]> one (a) => (b) { b = f.two (a) }
    <domain: "f", opset_import: ["" : 18, "f" : 1]> two (a) => (b) { b = f.one (a) }"""
    (tmp_path / "m.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    assert "the function f.one calls itself" in load(tmp_path / "m.onnx")[1][0].message


def test_metadata_is_believed_where_a_repair_could_have_written_it(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        for key, value in (
            (f"{KEY}x", "double"),
            (f"{KEY}y", "uint8"),
            (f"{KEY}z", "double"),
            (f"{KEY}c", "../../x"),
            (f"{ROWS}y", "0=boxes"),
            (f"{ROWS}x", "0=boxes"),
            (f"{ROWS}q", "nonsense"),
            ("author", "somebody"),
        ):
            model.metadata_props.add(key=key, value=value)

    model, found = read(written(tmp_path, change))
    assert model is not None
    assert sorted(prop.key for prop in model.metadata_props) == ["author", f"{ROWS}y", f"{KEY}x"]
    assert {finding.severity for finding in found} == {"warning"}
    assert len(found) == 5
    assert [kind.name for kind in changed(model).values()] == ["DOUBLE"]


def test_a_bomb_is_told_with_what_to_do(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 18]>
    bomb (float[1] x) => (float[1] y) <int64[1] s = {10000000000}> {
      b = ConstantOfShape (s) m = ReduceMax <keepdims = 0> (b) y = Add (x, m) }"""
    (tmp_path / "m.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    model, found = load(tmp_path / "m.onnx", 2**32)
    assert model is None
    assert found[0].message == "ConstantOfShape b would need 37.3 GB of memory, and 4 GB are allowed"
    assert "--memory" in found[0].remedy
    assert load(tmp_path / "m.onnx", 2**36)[0] is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda node: node.input.append("a"), "it has 2 inputs, not 1"),
        (lambda node: node.attribute.append(onnx.helper.make_attribute("axis", 1)), "it has an attribute axis, which the operator has not"),
        (lambda node: setattr(node, "op_type", "Concat"), "it has no attribute axis"),
        (lambda node: node.MergeFrom(onnx.helper.make_node("Celu", [], [], alpha=1)), "its attribute alpha is of the type INT, not FLOAT"),
        (lambda node: node.attribute.add(name="alpha", f=1.0), "its attribute alpha has no type"),
        (lambda node: node.MergeFrom(onnx.helper.make_node("Neg", [], [], __a=1)), None),
    ],
)  # fmt: skip
def test_schemas_count_behind_a_node_that_nobody_knows(
    tmp_path: Path, change: Callable[..., object], message: str
) -> None:
    """At which ONNX's own checker stops; in a branch, too."""

    def changed(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "Magic"
        branch = next(item for item in model.graph.node[1].attribute if item.name == "else_branch")
        change(branch.g.node[0])

    loaded, findings = load(written(tmp_path, changed))
    assert (loaded is None) == (message is not None)
    assert [each.message for each in findings if each.severity == "error"] == ([message] if message else [])
