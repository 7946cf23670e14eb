"""ONNX files from outside: what is taken, and one line of reason for what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import FLOAT, gemm, model, node, save, tensor
from stages import compare, import_onnx

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.files import hash_file


def external(folder: Path, location: str = "w.bin") -> Path:
    """A model whose weights are in w.bin, which it says is at `location`."""
    path = save(gemm(), folder, save_as_external_data=True, location="w.bin", size_threshold=0)
    content = onnx.load(path, load_external_data=False)
    for entry in content.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(content.SerializeToString())
    return path


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


def test_scales_that_fit_another_axis_are_told_with_the_axis(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", ["w", "s"], ["d"], name="weights"), node("Conv", ["x", "d"], ["y"])]
    held = [
        numpy_helper.from_array(np.ones((5, 3, 1, 1), np.int8), "w"),
        numpy_helper.from_array(np.ones(5, np.float32), "s"),
    ]
    path = save(
        model(nodes, [tensor("x", FLOAT, [1, 3, 4, 4])], [tensor("y", FLOAT, [1, 5, 4, 4])], held), tmp_path / "in"
    )
    with pytest.raises(
        UserError, match=r"node weights .*: it has 5 scales for the 3 elements of axis 1; they fit axis 0: set axis=0"
    ):
        import_onnx(tmp_path / "out", path)


def test_a_node_that_fails_on_constants_alone_is_no_matter_of_shapes(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["c", "to"], ["r"], name="again"), node("Add", ["x", "r"], ["y"])]
    held = [
        numpy_helper.from_array(np.ones(6, np.float32), "c"),
        numpy_helper.from_array(np.array([4, 2]), "to"),
    ]
    path = save(model(nodes, [tensor("x", FLOAT, [4, 2])], [tensor("y", FLOAT, [4, 2])], held), tmp_path / "in")
    with pytest.raises(UserError, match=r"node again .*reads constants alone") as caught:
        import_onnx(tmp_path / "out", path)
    assert "SHAPE" not in str(caught.value)
