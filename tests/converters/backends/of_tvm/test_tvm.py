"""TVM runs in processes without torch, as the product runs it, so every test here asks a fresh one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from backend_models import FLOAT, INT64, constant, convnet, counted, node, save, value

pytest.importorskip("tvm")

DRIVER = """
import sys
sys.modules["torch"] = None
import json
from pathlib import Path
import numpy as np
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.stage import Context

backend = get_backend("tvm")
folder = Path(sys.argv[1])
context = Context(folder, folder, folder)


def request(name, profile=None, target="native"):
    out = folder / f"{name}.out"
    out.mkdir(exist_ok=True)
    return BuildRequest(folder / f"{name}.onnx", backend.resolve_target(target), profile or {}, out)


def show(findings):
    return [[finding.severity, finding.op, finding.node, finding.message] for finding in findings]


"""


def ask(tmp_path: Path, code: str) -> dict:
    """Run `code`, which fills the dict `answer`, in a process with TVM."""
    script = DRIVER + "answer = {}\n" + code + "\n(folder / 'answer.json').write_text(json.dumps(answer))\n"
    env = {name: text for name, text in os.environ.items() if name != "TVM_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "answer.json").read_text())


def expected(model: Path, feed: dict) -> list:
    import onnxruntime

    return onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(None, feed)


def several_types(path: Path) -> Path:
    """Inputs named awkwardly, of three types; outputs of three types, one a shape; integers beyond float32."""
    nodes = [
        node("Relu", ["x.1"], ["relu"]),
        node("Add", ["2-ids", "big"], ["moved"]),
        node("Not", ["mask"], ["turned"]),
        node("Where", ["mask", "relu", "x.1"], ["picked"]),
        node("Shape", ["picked"], ["shape"]),
    ]
    inputs = [value("x.1", FLOAT, [2, 3]), value("2-ids", INT64, [3]), value("mask", onnx.TensorProto.BOOL, [2, 3])]
    outputs = [
        value("picked", FLOAT, [2, 3]),
        value("moved", INT64, [3]),
        value("turned", onnx.TensorProto.BOOL, [2, 3]),
        value("shape", INT64, [2]),
    ]
    return save(path, nodes, inputs, outputs, [constant("big", [2**40])])


def test_compiles_and_a_fresh_process_runs_it(tmp_path):
    rng = np.random.default_rng(0)
    convnet(tmp_path / "plain.onnx")
    convnet(tmp_path / "dynamic.onnx", batch="N", save_as_external_data=True, location="w.bin", size_threshold=0)
    several_types(tmp_path / "types.onnx")
    feeds = {
        "plain": {"x": rng.random((1, 3, 16, 16), np.float32)},
        "dynamic": {"x": rng.random((4, 3, 16, 16), np.float32)},
        "types": {
            "x.1": rng.standard_normal((2, 3)).astype(np.float32),
            "2-ids": np.array([1, -2, 3]),
            "mask": rng.random((2, 3)) > 0.5,
        },
    }
    built = ask(
        tmp_path,
        """
events = []
context.emit = events.append
for name in ("plain", "dynamic", "types"):
    profile = {"x": ((1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16))} if name == "dynamic" else None
    answer[name] = backend.build(request(name, profile), context).model_dump()
    assert sorted(path.name for path in (folder / f"{name}.out").iterdir()) == ["layers.json", "module.json", "module.so"]
answer["said"] = [event["text"] for event in events]
""",
    )
    assert built["plain"]["layers_by_dtype"] == {"float32": built["plain"]["layers"]}
    assert 3 <= built["plain"]["layers"] <= 8
    assert {"float32", "int64", "bool"} <= set(built["types"]["layers_by_dtype"])
    assert "compiling" in built["said"]
    for name, feed in feeds.items():
        np.savez(tmp_path / f"{name}.npz", **feed)
    for path in tmp_path.glob("*.onnx"):
        path.rename(path.with_suffix(".hidden"))  # an engine needs nothing but itself

    ran = ask(
        tmp_path,
        """
for name in ("plain", "dynamic", "types"):
    feed = dict(np.load(folder / f"{name}.npz"))
    with backend.runner(folder / f"{name}.out" / "module.so", threads=1) as runner:
        outputs = runner.infer(feed)
        answer[name] = {"names": list(outputs), "seconds": runner.last_inference_time()}
        np.savez(folder / f"{name}.got.npz", **outputs)
answer["compiler"] = "tvm.relax.frontend.onnx" in sys.modules
""",
    )
    assert not ran["compiler"]
    for name, feed in feeds.items():
        got = np.load(tmp_path / f"{name}.got.npz")
        wanted = expected(tmp_path / f"{name}.hidden", feed)
        assert len(ran[name]["names"]) == len(wanted)
        assert ran[name]["seconds"] > 0
        for output, array in zip(ran[name]["names"], wanted, strict=True):
            assert got[output].dtype == array.dtype
            np.testing.assert_allclose(got[output], array, rtol=1e-4, atol=1e-5)


def test_names_every_node_that_it_refuses_or_gets_wrong(tmp_path):
    tensors = [
        constant("scale", np.ones(8), "float32"),
        constant("w", np.ones((3, 4, 3, 3)), "float32"),
        constant("iou", [0.5], "float32"),
    ]
    nodes = [
        node("Celu", ["x"], ["celu"], name="celu"),
        node("LpNormalization", ["celu"], ["normal"], name="lp"),
        node("LayerNormalization", ["normal", "scale"], ["layer", "mean"], name="layernorm"),
        node("ConvTranspose", ["layer", "w"], ["up"], name="up", strides=[2, 2], output_shape=[16, 16]),
        node("NonMaxSuppression", ["boxes", "scores", "limit", "iou"], ["chosen"], name="nms"),
        node("Relu", ["up"], ["y"], name="fine"),
    ]
    inputs = [
        value("x", FLOAT, [1, 3, 8, 8]),
        value("boxes", FLOAT, [1, 5, 4]),
        value("scores", FLOAT, [1, 1, 5]),
        value("limit", INT64, [1]),
    ]
    outputs = [value("y", FLOAT, [1, 4, 16, 16]), value("mean", FLOAT, [1, 3, 8, 1]), value("chosen", INT64, ["n", 3])]
    save(tmp_path / "bad.onnx", nodes, inputs, outputs, tensors)
    convnet(tmp_path / "good.onnx")
    told = ask(
        tmp_path,
        """
answer["bad"] = show(backend.check(request("bad"), context))
answer["good"] = show(backend.check(request("good"), context))
try:
    backend.build(request("bad"), context)
except ConversionError as error:
    answer["build"] = show(error.findings)
""",
    )
    assert told["good"] == []
    assert {(op, name) for _, op, name, _ in told["bad"]} == {
        ("Celu", "celu"),
        ("LpNormalization", "lp"),
        ("LayerNormalization", "layernorm"),
        ("ConvTranspose", "up"),
        ("NonMaxSuppression", "nms"),
    }
    assert {severity for severity, *_ in told["bad"]} == {"error"}
    assert "max_output_boxes" in next(message for _, op, _, message in told["bad"] if op == "NonMaxSuppression")
    assert told["build"] == told["bad"]


def test_bad_requests_are_the_users_errors(tmp_path):
    convnet(tmp_path / "dynamic.onnx", batch="N")
    told = ask(
        tmp_path,
        """
shape = ((1, 3, 16, 16),) * 3
cases = {
    "dynamic": lambda: backend.build(request("dynamic"), context),
    "name": lambda: backend.check(request("dynamic", {"xx": shape}), context),
    "mcpu": lambda: backend.build(request("dynamic", {"x": shape}, "x86_64-linux-gnu:znver33"), context),
    "missing": lambda: backend.runner(folder / "none.so").activate(),
}
for name, case in cases.items():
    try:
        case()
    except UserError as error:
        answer[name] = str(error)
""",
    )
    assert "give its shape, such as x:" in told["dynamic"]
    assert "did you mean x" in told["name"]
    assert "znver3" in told["mcpu"]
    assert "doesn't exist" in told["missing"]


def test_winograd_is_a_choice(tmp_path):
    rng = np.random.default_rng(0)
    weights = constant("w", rng.standard_normal((64, 64, 3, 3)), "float32")
    planes = [1, 64, 28, 28]
    nodes = [node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    save(tmp_path / "m.onnx", nodes, [value("x", FLOAT, planes)], [value("y", FLOAT, planes)], [weights])
    answer = ask(
        tmp_path,
        """
from dataclasses import replace
for winograd in (True, False):
    engine = backend.build(replace(request("m"), winograd=winograd), context)
    answer[str(winograd)] = [layer.kernel for layer in engine.kernels]
""",
    )
    assert any(kernel.startswith("winograd") for kernel in answer["True"])
    assert not any(kernel.startswith("winograd") for kernel in answer["False"])
    assert "convolution" in answer["False"]


def test_scheduled_kernels_compute_the_same(tmp_path):
    """Kernels of many forms, each with its schedule against itself without."""
    differences = ask(
        tmp_path,
        """
import tvm
from onnx import TensorProto, helper
from tvm import relax
from enginesmith.converters.backends.tvm import schedule
from enginesmith.converters.backends.tvm.frontend import importer
from enginesmith.converters.backends.tvm.processors import llvm_target

schedule.SERIAL_WORK = 0
target = llvm_target(backend.resolve_target("native"))
rng = np.random.default_rng(0)
N = helper.make_node
cases = {
    "conv": ([N("Conv", ["a", "b"], ["c"], pads=[1] * 4), N("Relu", ["c"], ["y"])], (1, 5, 9, 14), (24, 5, 3, 3)),
    "strided": ([N("Conv", ["a", "b"], ["y"], strides=[2, 2])], (2, 4, 11, 11), (6, 4, 3, 3)),
    "depthwise": ([N("Conv", ["a", "b"], ["y"], group=6)], (1, 6, 10, 18), (6, 1, 3, 3)),
    "transposed": ([N("ConvTranspose", ["a", "b"], ["y"], strides=[2, 2])], (1, 4, 5, 5), (4, 3, 2, 2)),
    "matmul": ([N("MatMul", ["a", "b"], ["c"]), N("Softmax", ["c"], ["y"])], (3, 7, 20), (3, 20, 32)),
    "vector": ([N("MatMul", ["a", "b"], ["y"])], (1, 33), (33, 1)),
    "pool": ([N("Add", ["a", "b"], ["c"]), N("GlobalAveragePool", ["c"], ["y"])], (1, 8, 5, 5), (1, 8, 1, 1)),
    "argmax": ([N("Add", ["a", "b"], ["c"]), N("ArgMax", ["c"], ["y"], axis=1)], (2, 8, 16), (2, 8, 16)),
    "norm": ([N("LayerNormalization", ["a", "b"], ["y"])], (4, 6, 16), (16,)),
    "scatter": (
        [N("Cast", ["b"], ["i"], to=7), N("ScatterElements", ["a", "i", "b"], ["y"], axis=1)],
        (3, 16),
        (3, 16),
    ),
    "l2": ([N("Mul", ["a", "b"], ["c"]), N("ReduceL2", ["c"], ["y"])], (3, 16), (3, 16)),
}
for name, (nodes, a, b) in cases.items():
    arrays = [rng.standard_normal(shape).astype("float32") for shape in (a, b)]
    inputs = [helper.make_tensor_value_info(key, 1, shape) for key, shape in (("a", a), ("b", b))]
    kind = TensorProto.INT64 if name == "argmax" else TensorProto.FLOAT
    graph = helper.make_graph(nodes, name, inputs, [helper.make_tensor_value_info("y", kind, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    plain = importer.optimize(importer.convert(model), target)
    results = []
    for module in (plain, schedule.schedule(plain, schedule.Tile(lanes=8, rows=4))):
        machine = relax.VirtualMachine(importer.compile_module(module, target), tvm.cpu())
        results.append(machine["main"](*map(tvm.runtime.tensor, arrays)).numpy())
    answer[name] = float(np.abs(results[0] - results[1]).max())
tiled = [f.script() for f in schedule.schedule(plain, schedule.Tile(8, 4)).functions.values()]
answer["parallel"] = any("T.parallel" in text for text in tiled)
""",
    )
    assert differences.pop("parallel")
    assert max(differences.values()) < 1e-4, differences


def test_a_value_that_decides_on_sizes_is_held(tmp_path):
    """The module has the likeliest value in it, and refuses another."""
    counted(tmp_path / "m.onnx")
    answer = ask(
        tmp_path,
        """
from dataclasses import replace
asked = replace(request("m"), values={"count": ([1], [5], [9])})
backend.build(asked, context)
lengths = np.array([2, 7])
with backend.runner(asked.out / "module.so") as runner:
    made = runner.infer({"count": np.array(5), "lengths": lengths}, check_inputs=True)
    answer["y"] = made["y"].tolist()
    try:
        runner.infer({"count": np.array(6), "lengths": lengths})
    except UserError as error:
        answer["refused"] = str(error)
""",
    )
    assert answer["y"] == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert "was built for count=[5], not for [6]" in answer["refused"]
