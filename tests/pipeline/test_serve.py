"""`run`, `bench` and `inspect` of engines and graphs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_onnx
from onnx import TensorProto, helper
from running import Answer, Built

from enginesmith.converters.data import pictures

PICTURES = Path(pictures.__file__).parent
Cli = Callable[..., Answer]


def classifier(path: Path, **metadata: str) -> Path:
    """A graph that knows bright pictures from dark ones; its batch is dynamic."""
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Mul", ["column", "sign"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 2])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("sign", TensorProto.FLOAT, [1, 2], [-1, 1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def test_a_builds_engine_runs_on_arrays_as_from_python(lenet: Built, enginesmith: Cli, tmp_path: Path) -> None:
    import enginesmith as face

    picture = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    np.savez(tmp_path / "in.npz", images=picture)
    done = enginesmith("run", str(lenet.folder), "in.npz", "--json", "--save", "out")
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert told["backend"] == "tvm", "the first engine that runs here"
    (answer,) = told["answers"]
    engine = next(each for each in face.Result.open(lenet.folder).engines if each.backend == "tvm")
    (expected,) = engine(picture).values()
    np.testing.assert_array_equal(np.load("out/in.npz")["output"], expected)
    np.testing.assert_allclose(answer["outputs"][0]["values"], expected.ravel(), rtol=1e-6)
    assert [each["index"] for each in answer["classes"]] == np.argsort(-expected[0])[:5].tolist()


def test_a_graph_runs_on_a_folder_of_pictures_with_the_names_that_it_brings(enginesmith: Cli, tmp_path: Path) -> None:
    from PIL import Image

    model = classifier(tmp_path / "m.onnx", names="{0: 'dark', 1: 'bright'}")
    (tmp_path / "pictures").mkdir()
    for name, colour in (("a.png", "white"), ("b.png", (60, 60, 60))):
        Image.new("RGB", (40, 50), colour).save(tmp_path / "pictures" / name)
    done = enginesmith("run", str(model), "pictures", "--pixels", "imagenet", "--json")
    assert done.status == 0, done.err
    best = {each["input"]: each["classes"][0]["name"] for each in json.loads(done.out)["answers"]}
    assert best == {"a": "bright", "b": "dark"}
    (tmp_path / "names.txt").write_text("night\nday\n")
    shown = enginesmith("run", str(model), "pictures", "--pixels", "imagenet", "--names", "names.txt", "--top", "1")
    assert "day" in shown.out
    assert "bright" not in shown.out


def test_a_python_call_is_answered_with_the_same(tmp_path: Path) -> None:
    import enginesmith as face

    model = classifier(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.ones((3, 3, 32, 32), np.float32))
    (answer,) = face.run(model, tmp_path / "x.npy")
    assert answer.outputs[0].values == [-1.0, 1.0] * 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.onnx", "x.npz"], "no file or folder nothing.onnx"),
        (["m.onnx", "nothing.jpg"], "no file or folder nothing.jpg"),
        (["m.onnx", "text.txt"], "text.txt is no picture"),
        (["m.onnx", "empty"], "empty has no pictures"),
        (["m.onnx", "broken.jpg", "--pixels", "unit"], "broken.jpg can't be read as a picture"),
        (["m.onnx", "broken.npz"], "broken.npz can't be read"),
        (["m.onnx", "wrong.npz"], "wrong.npz: images is float64, and the engine takes float32"),
        (["m.onnx", "small.npz"], "images is 1x3x8x8, and the engine takes ?x3x32x32"),
        (["m.onnx", "good.jpg"], "give --pixels unit"),
        (["m.onnx", "good.jpg", "--pixels", "rgb"], "--pixels is 'rgb'; one of unit, imagenet, bytes"),
        (["m.onnx", "good.jpg", "--backend", "tvm"], "is a graph, no engine of tvm"),
        (["m.onnx", "good.jpg", "--backend", "tvn"], "unknown backend 'tvn'"),
        (["lone.trt", "good.jpg"], "say whose engine it is with --backend: tensorrt, tensorrt-rtx"),
        (["lone.trt", "good.jpg", "--backend", "tensorrt-rtx"], "not built here"),
        (["text.txt", "good.jpg"], "it is no engine's file"),
        (["empty", "good.jpg"], "is no build's output folder"),
    ],
)
def test_a_bad_request_is_one_line(arguments: list[str], said: str, enginesmith: Cli, tmp_path: Path) -> None:
    classifier(tmp_path / "m.onnx")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no picture")
    shutil.copy(PICTURES / "cat.jpg", tmp_path / "good.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (tmp_path / "broken.npz").write_bytes(b"PK no more")
    (tmp_path / "lone.trt").write_bytes(b"vtrt" + bytes(60))
    np.savez(tmp_path / "wrong.npz", images=np.zeros((1, 3, 32, 32)))
    np.savez(tmp_path / "small.npz", images=np.zeros((1, 3, 8, 8), np.float32))
    done = enginesmith("run", *arguments)
    assert done.status == 2, done.err
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_strangers_engine_runs_only_where_it_is_trusted(tiny: Built, enginesmith: Cli, tmp_path: Path) -> None:
    (source,) = tiny.folder.glob("tvm_*/module.so")
    np.savez(tmp_path / "x.npz", x=np.ones((1, 4), np.float32))
    for name in ("module.so", "module.json"):
        shutil.copy(source.with_name(name), tmp_path / name)
    engine = tmp_path / "module.so"
    engine.write_bytes(engine.read_bytes() + b"\0")  # another hash
    shape = json.loads((tmp_path / "module.json").read_text())["inputs"][0]
    np.savez(tmp_path / "x.npz", **{shape["name"]: np.ones(shape["shape"], shape["dtype"])})
    refused = enginesmith("run", "module.so", "x.npz")
    assert refused.status == 2
    assert "give --trust" in refused.err
    assert enginesmith("run", "module.so", "x.npz", "--trust").status == 0


def test_bench_tells_starts_memory_levels_and_the_spread_against_onnxruntime(tiny: Built, enginesmith: Cli) -> None:
    done = enginesmith("bench", str(tiny.folder), "--seconds", "0.2", "--concurrency", "1,2", "--json")
    assert done.status == 0, done.err
    told = json.loads(done.out)
    start = told["start"]
    assert start["cold_load_ms"] > start["warm_load_ms"] > 0
    assert start["loaded_mb"] > start["before_mb"] > 0
    against = told["against"]
    assert against["engine"]["runs"] == against["onnxruntime"]["runs"] > 3
    assert against["ratio_low"] <= against["ratio"] <= against["ratio_high"]
    assert [level["concurrency"] for level in told["levels"]] == [1, 2]
    assert all(
        level["per_second"] > 0 and level["latency"]["p50"] <= level["latency"]["p99"] for level in told["levels"]
    )


def test_bench_of_a_graph_takes_a_batch_where_it_is_dynamic(enginesmith: Cli, tmp_path: Path) -> None:
    model = classifier(tmp_path / "m.onnx")
    done = enginesmith("bench", str(model), "--batch", "4", "--seconds", "0.1", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["start"]["shapes"] == {"images": [4, 3, 32, 32]}
    assert "nothing to hold it against" in enginesmith("bench", str(model), "--batch", "1", "--seconds", "0.1").out
    open_sizes = enginesmith("bench", str(model), "--seconds", "0.1")
    assert open_sizes.status == 2
    assert "dynamic dimensions" in open_sizes.err
    assert enginesmith("bench", str(model), "--concurrency", "0").status == 2


def test_bench_refuses_a_batch_that_an_engine_was_not_built_for(tmp_path: Path, enginesmith: Cli) -> None:
    model = tiny_onnx.linear(tmp_path / "tiny.onnx")
    done = enginesmith("bench", str(model), "--batch", "7", "--seconds", "0.1")
    assert done.status == 2
    assert "takes no other; build an engine for 7" in done.err


def test_inspect_reads_engines_and_graphs_without_loading_them(lenet: Built, enginesmith: Cli) -> None:
    done = enginesmith("inspect", str(lenet.folder), "--json")
    assert done.status == 0, done.err
    plan, module = json.loads(done.out)
    assert plan["contents"]["GPUs"] == "sm_86"
    assert plan["contents"]["builder"] == plan["details"]["builder"]
    assert plan["runs_here"].startswith("no GPU") or plan["runs_here"] == "yes"
    assert module["contents"]["shapes"] == "images:1x1x28x28"
    assert module["verified"].startswith("yes")
    graph = enginesmith("inspect", str(lenet.folder / "model.onnx"))
    assert "images:1x1x28x28 float32" in graph.out


def test_inspect_says_that_an_engine_is_not_the_one_that_was_built(
    lenet: Built, enginesmith: Cli, tmp_path: Path
) -> None:
    shutil.copytree(lenet.folder, tmp_path / "copy")
    (engine,) = (tmp_path / "copy").glob("tensorrt-rtx_*/engine.trt")
    engine.write_bytes(engine.read_bytes() + b"\0")
    assert "the hash is another one" in enginesmith("inspect", str(engine)).out
    engine.write_bytes(b"no engine of anybody's, though it is long enough")
    done = enginesmith("inspect", str(engine))
    assert done.status == 2
    assert "no engine of TensorRT" in done.err


def test_outputs_are_saved_under_any_name(enginesmith: Cli, tmp_path: Path) -> None:
    names = ("file", "a/b", "allow_pickle")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], [name]) for name in names],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info(name, TensorProto.INT64, [2]) for name in names],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.array([1, 2]))
    done = enginesmith("run", "m.onnx", "x.npy", "--save", "out")
    assert done.status == 0, done.err
    assert {name: array.tolist() for name, array in np.load("out/x.npz").items()} == {key: [1, 2] for key in names}


@pytest.mark.parametrize(
    "command", [["inspect", "m.onnx"], ["package", "m.onnx", "--for", "triton", "--out", "p", "--unverified"]]
)
def test_the_process_that_one_types_into_loads_no_framework(command: list[str], tmp_path: Path) -> None:
    classifier(tmp_path / "m.onnx")
    script = (
        "import sys; sys.argv = ['enginesmith', *sys.argv[1:]]\n"
        "from enginesmith.pipeline.cli import app\n"
        "try: app.main()\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "loaded = {'numpy', 'onnx', 'onnxruntime', 'torch', 'tvm', 'tensorrt_rtx'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    more = ["--shape", "images:1x3x32x32"] if command[0] == "package" else []
    arguments = [sys.executable, "-c", script, *command, *more]
    done = subprocess.run(arguments, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
