"""Python scripts: what their text says, and what it does not."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.compat.migrations import documents
from enginesmith.compat.migrations.reading import Job, Reading

HEAD = """
import tensorrt as trt
logger = trt.Logger()
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
parser = trt.OnnxParser(network, logger)
config = builder.create_builder_config()
"""


def read(text: str, *given: str, head: str = HEAD) -> Reading:
    return documents.read(head + dedent(text), ".py", given)


def job(text: str, *given: str, head: str = HEAD) -> Job:
    return read(text, *given, head=head).jobs[0]


@pytest.mark.parametrize(
    "text",
    [
        'parser.parse_from_file("m.onnx")',
        'with open("m.onnx", "rb") as f:\n    parser.parse(f.read())',
        'data = open("m.onnx", "rb").read()\nparser.parse(data)',
        'from pathlib import Path\nparser.parse(Path("m.onnx").read_bytes())',
        'NAME = "m"\npath = f"{NAME}.onnx"\nassert parser.parse(open(path, "rb").read())',
        'import os\npath = os.path.join("", "m" + ".onnx")\nparser.parse_from_file(path)',
        'def load(path="m.onnx"):\n    parser.parse_from_file(path)',
        'def load(path):\n    parser.parse_from_file(path)\nload("m.onnx")',
        'class A:\n    def __init__(self):\n        self.path = "m.onnx"\n    def b(self):\n        parser.parse_from_file(self.path)',
        'import onnx\nmodel = onnx.load("m.onnx")\nparser.parse(model.SerializeToString())',
        'a, b = "m.onnx", 1\nparser.parse_from_file(a)',
        'def out(path):\n    def inner():\n        parser.parse_from_file(path)\n    inner()\nout("m.onnx")',
    ],
)
def test_ways_to_name_the_model(text: str) -> None:
    assert job(text).told("model") == ["m.onnx"]


def test_arguments_of_the_script_decide() -> None:
    text = """
    import argparse
    ap = argparse.ArgumentParser()
    ap.add_argument("--onnx", default="m.onnx")
    ap.add_argument("--half", dest="fp16", action="store_true")
    args = ap.parse_args()
    if args.fp16:
        config.set_flag(trt.BuilderFlag.FP16)
    parser.parse_from_file(args.onnx)
    """
    assert (job(text).told("model"), job(text).told("precision")) == (["m.onnx"], [])
    given = job(text, "--half", "--onnx=other.onnx")
    assert (given.told("model"), given.told("precision")) == (["other.onnx"], ["fp16"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", ["fp16"]),
        ("config.flags = 1 << int(trt.BuilderFlag.INT8)", ["int8"]),
        ("config.clear_flag(trt.BuilderFlag.FP16)", []),
        ("builder.fp16_mode = True", ["fp16"]),
        ("builder.int8_mode = False", []),
        ("FP16 = False\nif FP16:\n    config.set_flag(trt.BuilderFlag.FP16)", []),
        ("if builder.platform_has_fast_fp16:\n    config.set_flag(trt.BuilderFlag.FP16)", ["fp16"]),
        ("from tensorrt import BuilderFlag\nconfig.set_flag(BuilderFlag.BF16)", ["bf16"]),
    ],
)
def test_precisions(text: str, said: list[str]) -> None:
    assert job(text).told("precision") == said


def test_sizes_of_a_profile() -> None:
    text = """
    N = 8
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 3, 64, 64), (N // 2, 3, 64, 64), max=[N, 3, 64, 64])
    profile.set_shape_input("n", (1,), (2,), (3,))
    config.add_optimization_profile(profile)
    """
    assert job(text).told("profile") == ["x:1..4..8x3x64x64", "n=1..2..3"]


def test_sizes_that_only_running_tells_are_not_read() -> None:
    reading = read("profile = builder.create_optimization_profile()\nprofile.set_shape(n, a(), a(), a())")
    assert [each.line for each in reading.unread] == [9]


def test_layers_by_the_conditions_around_them() -> None:
    text = """
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        if "norm" in layer.name or layer.type == trt.LayerType.SOFTMAX:
            layer.precision = trt.float32
        if layer.name.startswith("head"):
            layer.set_output_type(0, trt.DataType.HALF)
    """
    assert job(text).told("layers") == ["*norm*:fp32", "Softmax:fp32", "head*:fp16"]


def test_a_calibrator_and_its_cache() -> None:
    text = """
    class Mine(trt.IInt8MinMaxCalibrator):
        def __init__(self, data, cache):
            trt.IInt8MinMaxCalibrator.__init__(self)
    config.int8_calibrator = Mine("pictures", "mine.cache")
    """
    found = job(text)
    assert (found.told("calibrator"), found.told("cache")) == (["minmax", ""], ["mine.cache"])
    assert sum(part.fact.name == "IInt8MinMaxCalibrator" for part in found.parts) == 1


def test_what_the_api_does_not_have_is_not_read() -> None:
    reading = read("config.frobnicate = 3\ntrt.BuilderFlag.SPEED\nnetwork.name = 'x'")
    assert [each.line for each in reading.unread] == [8, 9]


def test_names_of_others_are_not_taken_for_the_apis() -> None:
    text = """
    import sqlite3, torch
    settings = load()
    settings.precision = "fp16"
    settings.max_batch_size = 8
    cursor = sqlite3.connect("x").cursor()
    cursor.execute("select 1")
    torch.nn.Conv2d(1, 1, 1).stride
    """
    names = {part.fact.name for part in job(text).parts}
    assert names == {"Builder.create_network", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"}


@pytest.mark.parametrize(
    ("body", "implicit"),
    [
        ("network = builder.create_network()\nbuilder.max_batch_size = 8", True),
        ("network = builder.create_network()\nbuilder.build_serialized_network(network, config)", False),
        ("network = builder.create_network(0)\nbuilder.build_cuda_engine(network)", True),
        ("network = builder.create_network(1)\nbuilder.build_cuda_engine(network)", False),
    ],
)
def test_a_network_without_a_batch_of_its_own_is_one_of_an_old_api(body: str, implicit: bool) -> None:
    head = "import tensorrt as trt\nbuilder = trt.Builder(trt.Logger())\nconfig = builder.create_builder_config()\n"
    assert ("" in job(body, head=head).told("implicit")) is implicit


def test_running_an_engine_builds_none() -> None:
    text = """
    engine = trt.Runtime(logger).deserialize_cuda_engine(open("m.plan", "rb").read())
    context = engine.create_execution_context()
    for i in range(engine.num_bindings):
        engine.get_binding_shape(i)
    context.execute_async_v2(bindings=[], stream_handle=0)
    """
    found = job(text, head="import tensorrt as trt\nlogger = trt.Logger()\n")
    assert not found.builds
    assert [part.fact.name for part in found.parts if part.fact.status == "removed"] == [
        "ICudaEngine.num_bindings",
        "ICudaEngine.get_binding_shape",
        "IExecutionContext.execute_async_v2",
    ]


def test_other_values_of_a_call_are_told() -> None:
    reading = read("def load(path):\n    parser.parse_from_file(path)\nload('a.onnx')\nload('b.onnx')")
    assert reading.jobs[0].told("model") == ["a.onnx"]
    assert "'b.onnx'" in reading.unread[0].reason


@pytest.mark.parametrize(
    "call",
    [
        'subprocess.run(["trtexec", f"--onnx={path}", "--fp16"])',
        'os.system(f"trtexec --onnx={path} --fp16")',
        'cmd = "trtexec --onnx=" + path + " --fp16"\nos.system(cmd)',
        'subprocess.check_call("trtexec --onnx=%s --fp16" % path, shell=True)',
    ],
)
def test_commands_that_a_script_starts(call: str) -> None:
    found = job(f'import os, subprocess\npath = "m.onnx"\n{call}', head="")
    assert (found.tool, found.told("precision")) == ("trtexec", ["fp16"])
    assert found.told("model") in (["m.onnx"], ["\N{HORIZONTAL ELLIPSIS}"])


@pytest.mark.parametrize(
    "more",
    [
        'command.append("--fp16")',
        'if args.half:\n    command.extend(["--fp16", name])',
        'command += " --fp16"',
        'command += ["--fp16"]',
    ],
)
def test_options_that_are_added_to_a_command_are_told(more: str) -> None:
    reading = read(f'command = ["trtexec", f"--onnx={{path}}"]\n{more}', head="")
    assert [job.told("precision") for job in reading.jobs] == [[]]
    assert [each.text for each in reading.unread] == ["--fp16"]


@pytest.mark.parametrize(
    ("tests", "told"),
    [
        (("p == 'fp16'", "p == 'int8'"), [True, False]),
        (("p == 'fp16'", "q == 'int8'"), [True, True]),
        (("p", "not p"), [True, True]),
        (("p == 'a' or q", "p == 'b'"), [True, True]),
    ],
)
def test_conditions_that_exclude_each_other(tests: tuple[str, str], told: list[bool]) -> None:
    one, other = tests
    text = (
        f"if {one}:\n    config.set_flag(trt.BuilderFlag.FP16)\nif {other}:\n    config.set_flag(trt.BuilderFlag.INT8)"
    )
    parts = [part for part in job(text).parts if part.fact.name.startswith("BuilderFlag")]
    assert [not parts[0].excludes(part) for part in parts] == told


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("torch2trt(m, [torch.zeros(1, 3, 8, 8).cuda()], fp16_mode=True, max_batch_size=4)", ["fp16", "1x3x8x8"]),
        (
            "torch_tensorrt.compile(m, inputs=[torch_tensorrt.Input((1, 3, 8, 8))], enabled_precisions={torch.half})",
            ["fp16", "1x3x8x8"],
        ),
        ('YOLO("v8.pt").export(format="engine", half=True, imgsz=8)', ["fp16", "1x3x8x8"]),
        ('m = YOLO("v8.pt")\nm.export(format="onnx", half=True)', None),
    ],
)
def test_libraries(call: str, said: list[str] | None) -> None:
    jobs = read(f"import torch, torch_tensorrt\n{call}", head="").jobs
    if said is None:
        assert not jobs
    else:
        assert [*jobs[0].told("precision"), *jobs[0].told("profile")] == said


def test_a_notebooks_cells_and_commands() -> None:
    cells = [
        "import tensorrt as trt\n",
        "!trtexec --onnx=m.onnx --fp16\n",
        "%matplotlib inline\nb = trt.Builder(trt.Logger())\nb.fp16_mode = True",
    ]
    text = json.dumps({"cells": [{"cell_type": "code", "source": [cell]} for cell in cells]})
    assert [job.tool for job in documents.read(text, ".ipynb").jobs] == ["python", "trtexec"]


@pytest.mark.parametrize(("text", "suffix"), [("print 'x'", ".py"), ("{}", ".ipynb"), ("[", ".ipynb"), ("a\0b", ".py")])
def test_what_is_no_script_is_told(text: str, suffix: str) -> None:
    with pytest.raises(ValueError, match=r"no Python 3|no notebook"):
        documents.read(text, suffix)


EXPRESSIONS = st.sampled_from(
    ["1 << 10**9", "'x' * 10**9", "9**9**9", "a", "[a] * 3", "f'{a}'", "(lambda: 0)()", "open(a)", "{}['a']", "a if a else 1",
     "-'x'", "'a'.format()", "'{:>999999999999}'.format(1)", "'{0.__class__}'.format(1)",
     "'%s' % 1", "__import__('os').system('exit 1')", "[i for i in a]", "1 / 0", "a.b.c(d)[0]"]
)  # fmt: skip


@given(st.lists(EXPRESSIONS, min_size=1, max_size=4))
def test_no_expression_is_run(expressions: list[str]) -> None:
    lines = [f"a = {each}" for each in expressions]
    reading = read("\n".join([*lines, "parser.parse_from_file(a)", "config.max_workspace_size = a"]))
    assert reading.jobs
