"""Every bad request: exit status 2, one line that names the cause, and nothing left in the output folder."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_onnx

from enginesmith.converters.backends import BACKENDS
from enginesmith.converters.backends.tensorrt.product import DATACENTER
from enginesmith.converters.backends.tvm.target import CpuTarget

FACTORIES = """
    import torch
    from torch import nn

    def good():
        return nn.Linear(4, 2)

    def raises():
        raise RuntimeError("no luck\\ntoday")

    def leaves():
        import os
        os._exit(0)

    def interrupts():
        raise KeyboardInterrupt

    def recurses():
        return recurses()

    def number():
        return 7

    def weights():
        torch.save({"weight": torch.zeros(9, 9), "other": torch.zeros(1)}, "weights.pt")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "factories.py").write_text(textwrap.dedent(FACTORIES))
    (tmp_path / "regular file").write_text("I am no folder")
    (tmp_path / "notes.txt").write_text("milk")
    (tmp_path / "old.jsonl").write_text('{"format": 1, "tvm": "0.1", "kernels": "k", "target": "x86-64"}\n')
    tiny_onnx.linear(tmp_path / "good.onnx")
    return tmp_path


def refused(answer, folder: Path, *words: str) -> None:
    assert answer.status == 2, answer
    assert "Traceback" not in answer.err + answer.out
    (line,) = answer.err.splitlines()
    assert line.startswith("enginesmith: ")
    for word in words:
        assert word in line
    assert not (folder / "out").exists()
    assert not (folder / "build").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("lenett", ["unknown model 'lenett'", "nearest: lenet"]),
        ("goood.onnx", ["no file goood.onnx", "nearest: good.onnx"]),
        ("factories.py", ["factories.py:factory"]),
        ("lenet --shape 1x1x28xW", ["doesn't parse at 'W'"]),
        ("lenet --backend openvino", ["unknown backend 'openvino'"]),
        ("lenet --backend tvm --target z80", ["unknown target of tvm 'z80'"]),
        ("lenet --backend tvm --target znver4", ["'znver4'", "comes after its triple", "x86_64-linux-gnu:znver4"]),
        ("lenet --backend tvm --target x86_64-linux-gnu:znver44", ["unknown processor", "'znver44'", "znver4"]),
        ("lenet --backend tvm --target x86-64-v3+avx999", ["'x86-64-v3+avx999'", "x86-64-v3+vnni"]),
        ("lenet --backend tvm --shape x:1x1x28x28,x:1x28x28", ["the shapes of x differ in rank"]),
        ("lenet --precision fp12", ["precision = 'fp12'"]),
        ("lenet --samples 0", ["samples = '0'", "1 to 64"]),
        ("lenet --weights nowhere.pt", ["no weights nowhere.pt"]),
        ("good.onnx --weights random", ["weights is for PyTorch models"]),
        ("good.onnx --backend tvm --tune soon", ["can't read tune = 'soon'", "10m"]),
        ("good.onnx --backend tvm --tune -5m", ["can't read tune = '-5m'"]),
        ("good.onnx --backend tvm --tune 1m --no-kernels", ["--no-kernels leaves them out"]),
        ("good.onnx --backend tvm --tuners board:9190/pi", ["give tune too"]),
        ("good.onnx --backend tvm --tune 1m --tune-database notes.txt", ["notes.txt is no tuning database"]),
        ("good.onnx --backend tvm --target x86-64 --tune 1m --tune-database old.jsonl", ["for TVM 0.1, and this is"]),
        ("good.onnx --backend tvm --tune 1m --tuners board", ["can't read tuners = 'board'", "HOST", "/KEY"]),
        ("good.onnx --backend tvm --tune 1m --tuners 127.0.0.1:9/pi", ["no tracker answers at 127.0.0.1:9"]),
        ("good.onnx --backend tvm --tune 1m --target riscv64-linux-gnu", ["can't tune for riscv64", "--tuners"]),
        ("-f nowhere.yaml", ["can't read the recipe nowhere.yaml"]),
        ("", ["no model"]),
        ("good.onnx --store regular", ["can't write the store", "ENGINESMITH_STORE"]),
        ("good.onnx --store nosuch://bucket", ["store nosuch://bucket"]),
    ],
)
def test_seen_before_anything_runs(enginesmith, folder, arguments, words):
    (folder / "regular").write_text("")
    refused(enginesmith("build", *arguments.split(), "--out", "out"), folder, *words)


def test_a_backend_that_is_not_installed(enginesmith, folder, monkeypatch):
    monkeypatch.setattr(BACKENDS["tensorrt"], "product", replace(DATACENTER, module="no_such_tensorrt"))
    answer = enginesmith("build", "lenet", "--backend", "tensorrt", "--out", "out")
    refused(answer, folder, "backend tensorrt can't build here", "pip install tensorrt")


def test_a_processor_that_nothing_here_links_for(enginesmith, folder, monkeypatch):
    monkeypatch.setattr(CpuTarget, "linker", lambda cpu: "" if cpu.arch == "riscv64" else "/usr/bin/c++")
    answer = enginesmith("build", "good.onnx", "--backend", "tvm", "--target", "riscv64-linux-gnu", "--out", "out")
    refused(answer, folder, "tvm can't build for riscv64-linux-gnu here", "apt install g++-riscv64-linux-gnu")


def test_tuning_of_what_is_no_tvm_module(enginesmith, folder, monkeypatch):
    for name in ("available", "buildable"):
        monkeypatch.setattr(BACKENDS["tensorrt-rtx"], name, lambda *target: None, raising=False)
    answer = enginesmith("build", "lenet", "--backend", "tensorrt-rtx", "--tune", "1m", "--out", "out")
    refused(answer, folder, "tune is for TVM modules", "tensorrt-rtx", "--backend tvm")


def test_a_bad_recipe(enginesmith, folder):
    (folder / "recipe.yaml").write_text("model: lenet\nbackends: tvm\n")
    refused(enginesmith("build", "-f", "recipe.yaml"), folder, "unknown key 'backends'", "did you mean 'backend'")


def test_an_output_folder_that_cannot_be_written(enginesmith, folder):
    answer = enginesmith("build", "good.onnx", "--backend", "tvm", "--out", "regular file/out")
    refused(answer, folder, "can't write the output folder", "regular file/out", "--out")


def truncated(path):
    path.write_bytes(tiny_onnx.linear(path, width=64).read_bytes()[:9000])


def text(path):
    path.write_text("This is not the graph that you are looking for.\n")


def lfs(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n")


def empty(path):
    path.touch()


def missing_data(path):
    tiny_onnx.external(path, "gone.bin")


def short_data(path):
    tiny_onnx.external(path, "short.bin")
    (path.parent / "short.bin").write_bytes(b"123")


def data_outside(path):
    tiny_onnx.external(path, "../secret.bin")
    (path.parent.parent / "secret.bin").write_bytes(bytes(64))


def absolute_data(path):
    tiny_onnx.external(path, "/etc/passwd")


def linked_outside(path):
    tiny_onnx.external(path, "link.bin")
    secret = path.parent.parent / "secret.bin"
    secret.write_bytes(bytes(64))
    (path.parent / "link.bin").symlink_to(secret)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncated, ["it is no ONNX", "Wire format was corrupt"]),
        (text, ["is no ONNX file", "text file"]),
        (lfs, ["is no ONNX file", "git lfs pull"]),
        (empty, ["is no ONNX file"]),
        (missing_data, ["gone.bin", "missing"]),
        (short_data, ["short.bin, which is truncated", "3 bytes", "64"]),
        (data_outside, ["../secret.bin", "outside its folder"]),
        (absolute_data, ["/etc/passwd", "outside its folder"]),
        (linked_outside, ["link.bin", "a link to"]),
    ],
)
def test_an_onnx_file_that_is_none(enginesmith, folder, spoil, words):
    path = folder / "models" / "bad.onnx"
    path.parent.mkdir()
    spoil(path)
    refused(enginesmith("build", str(path), "--backend", "tvm", "--out", "out"), folder, *words)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("1x5", ["the shape given for x doesn't fit the model's 1x4"]),
        ("1x4x4", ["the shape given for x doesn't fit the model's 1x4"]),
        ("1x4,1x5", ["the shape given for x doesn't fit the model's 1x4"]),
        ("z:1x4", ["the model has no input 'z'; it has x"]),
    ],
)
def test_a_shape_that_an_onnx_file_does_not_have(enginesmith, folder, shape, words):
    refused(enginesmith("build", "good.onnx", "--backend", "tvm", "--shape", shape, "--out", "out"), folder, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("factories.py:raises", ["the factory", "RuntimeError: no luck", "(factories.py:9)"]),
        ("factories.py:leaves", ["the factory", "os._exit(0)", "(factories.py:"]),
        ("factories.py:interrupts", ["the factory", "KeyboardInterrupt", "(factories.py:"]),
        ("factories.py:recurses", ["the factory", "RecursionError"]),
        ("factories.py:number", ["returned int", "must return a torch.nn.Module"]),
        ("factories.py:godo", ["has no function 'godo'", "good"]),
        ("no_such_module:make", ["module no_such_module can't be imported"]),
        ("factories.py:good --shape 1x9", ["refuses the input", "1x9", "SHAPE"]),
        pytest.param("factories.py:good", ["no default shape", "SHAPE"], marks=pytest.mark.slow),
        pytest.param("torchvision:resnet81", ["has no model 'resnet81'", "resnet18"], marks=pytest.mark.slow),
    ],
)
def test_a_torch_model_that_cannot_be(enginesmith, folder, arguments, words):
    refused(enginesmith("build", *arguments.split(), "--backend", "tvm", "--out", "out"), folder, *words)


def test_weights_that_do_not_fit(enginesmith, folder):
    subprocess.run([sys.executable, "-c", "import factories; factories.weights()"], cwd=folder, check=True)
    answer = enginesmith("build", "factories.py:good", "--shape", "1x4", "--weights", "weights.pt", "--out", "out")
    words = ["don't fit the model", "weight (file (9, 9), model (2, 4))", "bias (missing in the file)", "other (not"]
    refused(answer, folder, *words)


def test_verbose_shows_the_tools_own_words(enginesmith, folder):
    answer = enginesmith("build", "factories.py:raises", "--backend", "tvm", "--verbose")
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert '    raise RuntimeError("no luck' in answer.out


def test_what_lay_in_the_output_folder_stays(enginesmith, folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes").touch()
    answer = enginesmith("build", "good.onnx", "--shape", "1x5", "--backend", "tvm", "--out", "mine/deeper/out")
    assert answer.status == 2
    assert [path.name for path in (folder / "mine").iterdir()] == ["notes"]
    text(folder / "bad.onnx")
    assert enginesmith("build", "bad.onnx", "--backend", "tvm", "--out", "mine").status == 2
    assert (folder / "mine" / "notes").exists()
