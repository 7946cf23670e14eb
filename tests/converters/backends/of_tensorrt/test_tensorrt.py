import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from backend_models import FLOAT, constant, convnet, counted, node, refused_by_rtx, save, value

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import OBSERVED, BuildRequest
from enginesmith.converters.backends.tensorrt.capabilities import GPUS
from enginesmith.converters.backends.tensorrt.product import RTX
from enginesmith.converters.backends.tensorrt.session import builder_session, config_for, load, parse
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.stage import Context

pytest.importorskip("tensorrt_rtx")

BACKEND = get_backend("tensorrt-rtx")
BATCHES = {"x": ((1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16))}


def request(onnx: Path, tmp_path: Path, profile=None, target="sm_89") -> BuildRequest:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    return BuildRequest(onnx, target, profile or {}, out, cache=tmp_path / "cache")


@pytest.fixture
def context(tmp_path) -> Context:
    return Context(tmp_path, tmp_path, tmp_path)


def test_builds_an_engine_and_tells_its_progress(tmp_path):
    events = []
    context = Context(tmp_path, tmp_path, tmp_path, emit=events.append)
    asked = request(convnet(tmp_path / "m.onnx"), tmp_path)
    info = BACKEND.build(asked, context)
    engine = asked.out / BACKEND.engine_file
    assert (info.backend, info.target, info.file) == ("tensorrt-rtx", "sm_89", "engine.trt")
    assert info.size == engine.stat().st_size > 1000
    assert set(info.layers_by_dtype) == {"float32"}
    assert info.layers == info.layers_by_dtype["float32"] >= 4
    assert [path.name for path in asked.out.iterdir()] == ["engine.trt"]
    assert not (tmp_path / "cache").exists(), "a timing cache would make TensorRT-RTX ask for a GPU"
    assert events[0]["text"] == "parsing"
    fractions = [event["fraction"] for event in events if event["fraction"] is not None]
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)


def test_a_gpu_is_hidden_from_a_builder_that_needs_none():
    code = """
import ctypes
from enginesmith.converters.backends.tensorrt.product import RTX
from enginesmith.converters.backends.tensorrt.session import builder_session
builder_session(RTX)
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(getenv(b"CUDA_VISIBLE_DEVICES").decode())
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[-1] == "-1"


def test_an_engine_that_cannot_be_loaded_says_why():
    with pytest.raises(ConversionError, match="not created using safety runtime"):
        load(builder_session(RTX), b"nothing of the kind" * 100)


def test_every_target_of_the_table_is_known_to_the_product():
    import tensorrt_rtx

    members = {name for name in tensorrt_rtx.ComputeCapability.__members__ if name.startswith("SM")}
    assert {name.replace("sm_", "SM") for name in RTX.capabilities} == members


def test_builds_for_a_range_of_batches(tmp_path, context):
    asked = request(convnet(tmp_path / "m.onnx", batch="N"), tmp_path, BATCHES)
    assert BACKEND.check(asked, context) == []
    assert BACKEND.build(asked, context).size > 1000


def test_plainer_engines_are_built_otherwise(tmp_path, context):
    """As an engine is held against: the lowest level, and products of float32 that are not rounded."""
    parsed = parse(builder_session(RTX), convnet(tmp_path / "m.onnx"))
    tf32 = builder_session(RTX).trt.BuilderFlag.TF32
    usual, plain = config_for(parsed, {}, "sm_89"), config_for(parsed, {}, "sm_89", 0, tf32=False)
    assert usual.get_flag(tf32)
    assert not plain.get_flag(tf32)
    assert plain.builder_optimization_level == 0
    asked = replace(request(tmp_path / "m.onnx", tmp_path), **BACKEND.levels[-1], tf32=False)
    assert BACKEND.build(asked, context).size > 1000


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({}, "input x has dynamic dimensions"),
        ({"X": BATCHES["x"]}, "did you mean x"),
        ({"x": ((1, 4, 16, 16),) * 3}, "doesn't fit"),
    ],
)
def test_a_profile_that_does_not_fit_is_the_users_error(tmp_path, context, profile, message):
    asked = request(convnet(tmp_path / "m.onnx", batch="N"), tmp_path, profile)
    with pytest.raises(UserError, match=message):
        BACKEND.check(asked, context)


def test_reads_weights_beside_the_file(tmp_path, context):
    path = convnet(tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").exists()
    assert BACKEND.build(request(path, tmp_path), context).layers >= 4


def test_the_dtype_of_layers_is_proved(tmp_path, context):
    info = BACKEND.build(request(convnet(tmp_path / "m.onnx", dtype="float16"), tmp_path), context)
    assert set(info.layers_by_dtype) == {"float16"}


def test_lists_every_refused_node_and_no_other(tmp_path, context):
    findings = BACKEND.check(request(refused_by_rtx(tmp_path / "m.onnx"), tmp_path), context)
    errors = {(finding.node, finding.op) for finding in findings if finding.severity == "error"}
    assert errors == {
        ("nonzero", "NonZero"),
        ("nms", "NonMaxSuppression"),
        ("roialign", "RoiAlign"),
        ("topk", "TopK"),
    }
    assert all(finding.message and finding.remedy and finding.versions for finding in findings)
    topk = next(finding for finding in findings if finding.op == "TopK")
    assert "3840" in topk.message
    assert "in parts" in topk.remedy


def test_lists_refused_nodes_whose_constants_lie_in_another_file(tmp_path, context):
    nodes = [node("TopK", ["x", "k"], ["best", "order"], name="topk"), node("Det", ["m"], ["d"], name="det")]
    inputs = [value("x", FLOAT, [1, 8000]), value("m", FLOAT, [3, 3])]
    outputs = [value("best", FLOAT, [1, 5000]), value("d", FLOAT, [])]
    how = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    path = save(tmp_path / "m.onnx", nodes, inputs, outputs, [constant("k", [5000])], **how)
    assert {finding.node for finding in BACKEND.check(request(path, tmp_path), context)} == {"topk", "det"}


def test_a_failed_build_names_the_node_and_leaves_nothing(tmp_path, context):
    nodes = [node("Resize", ["x", "", "s"], ["y"], name="shrink", mode="linear", antialias=1)]
    tensors = [constant("s", [1, 1, 0.5, 0.5], "float32")]
    shapes = [value("x", FLOAT, [1, 3, 8, 8])], [value("y", FLOAT, [1, 3, 4, 4])]
    asked = request(save(tmp_path / "m.onnx", nodes, *shapes, tensors, opset=18), tmp_path)
    with pytest.raises(ConversionError, match=r"[Aa]ntialias") as caught:
        BACKEND.build(asked, context)
    assert [(finding.node, finding.op) for finding in caught.value.findings] == [("shrink", "Resize")]
    assert "antialias" in caught.value.remedy
    assert list(asked.out.iterdir()) == []


def test_a_custom_operator_is_named_with_its_domain(tmp_path, context):
    import onnx

    path = save(
        tmp_path / "m.onnx",
        [node("Wobble", ["x"], ["y"], domain="my.ops")],
        [value("x", FLOAT, [4])],
        [value("y", FLOAT, [4])],
    )
    model = onnx.load(path)
    model.opset_import.add(domain="my.ops", version=1)
    onnx.save(model, path)
    (finding,) = BACKEND.check(request(path, tmp_path), context)
    assert (finding.op, finding.node) == ("my.ops::Wobble", "y")
    assert "plugin" in finding.remedy


def test_a_shape_computed_in_the_graph_is_not_held_against_a_node(tmp_path, context):
    nodes = [
        node("Shape", ["x"], ["s"], name="shape"),
        node("Gather", ["s", "zero"], ["n"], name="gather"),
        node("Concat", ["n", "rest"], ["to"], name="concat", axis=0),
        node("Reshape", ["x", "to"], ["y"], name="reshape"),
        node("NonZero", ["y"], ["z"], name="nonzero"),
    ]
    outputs = [value("y", FLOAT, [None, None]), value("z", 7, [2, None])]
    tensors = [constant("zero", [0]), constant("rest", [-1])]
    path = save(tmp_path / "m.onnx", nodes, [value("x", FLOAT, ["N", 3, 4])], outputs, tensors)
    profile = {"x": ((1, 3, 4), (2, 3, 4), (4, 3, 4))}
    assert [f.node for f in BACKEND.check(request(path, tmp_path, profile), context)] == ["nonzero"]


def test_a_node_that_fails_only_among_others_is_named(tmp_path, context):
    nodes = [
        node("ReduceMax", ["at"], ["most"], name="most", keepdims=1),
        node("Add", ["most", "one"], ["count"], name="count"),
        node("ConstantOfShape", ["count"], ["empty"], name="empty"),
        node("ScatterElements", ["empty", "at", "x"], ["y"], name="scatter", axis=0),
    ]
    inputs = [value("x", FLOAT, [6]), value("at", 7, [6])]
    path = save(tmp_path / "m.onnx", nodes, inputs, [value("y", FLOAT, ["n"])], [constant("one", [1])])
    asked = replace(request(path, tmp_path), values={"at": ([0] * 6, [1] * 6, [1] * 6)})
    found = BACKEND.check(asked, context)
    assert [(finding.node, finding.op) for finding in found] == [("scatter", "ScatterElements")]
    assert "must be less than or equal" in found[0].message


def test_unknown_target_reaches_no_build(tmp_path, context):
    with pytest.raises(UserError, match=r"sm_90 is Hopper.*--backend tensorrt"):
        BACKEND.build(request(convnet(tmp_path / "m.onnx"), tmp_path, target="sm_90"), context)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("9.0", "sm_90 is Hopper: H100"), ("sm_100", "sm_100 is Blackwell: B100"), ("SM103", "B300"), ("sm_87", "Jetson Orin"),
        ("7.0", "TensorRT 10.4 was the last"), ("sm_61", "TensorRT 8.6 was the last"),
        ("sm_62", "TensorRT 8.2 was the last"), ("sm_91", "did you mean"), ("sm_90a", "H100"),
    ],
)  # fmt: skip
def test_each_compute_capability_is_known_by_name(target: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        BACKEND.resolve_target(target)


def test_what_is_built_for_has_a_name() -> None:
    assert {*RTX.capabilities} <= {*GPUS}


def test_values_that_decide_on_sizes_have_a_range(tmp_path, context):
    plain = request(counted(tmp_path / "m.onnx"), tmp_path)
    with pytest.raises(UserError, match=r"the values of input count decide on sizes: give their range, such as count="):
        BACKEND.build(plain, context)
    info = BACKEND.build(replace(plain, values={"count": ([1], [30], [500])}), context)
    assert info.details["values"] == "count=1..30..500"
    assert OBSERVED not in info.details
    info = BACKEND.build(
        replace(plain, observed={"count": ([0], [3], [9]), "lengths": ([0, 0], [1, 2], [9, 9])}), context
    )
    assert info.details[OBSERVED] == "count=0..3..9", "the other one decides on nothing"
