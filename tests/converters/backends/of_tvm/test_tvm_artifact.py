"""A module away from Enginesmith: with TVM's runtime alone, from Python and from C++, and on another processor."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from backend_models import convnet
from test_tvm import ask, expected

from enginesmith.converters.backends.tvm.target import CpuTarget

EXAMPLES = Path(__file__).parents[4] / "examples"
SITE = Path(sysconfig.get_path("purelib"))
AARCH64 = CpuTarget("aarch64-linux-gnu", "")
TOP = '<ir_version: 10, opset_import: ["" : 18]> top (float[3, 50] x) => (float[3, 5] best, int64[3, 5] at)'
WHERE = '<ir_version: 10, opset_import: ["" : 18]> where (float[4] x) => (int64[1, n] at) { at = NonZero (x) }'


def build(folder: Path, name: str, target: str = "native") -> Path:
    ask(folder, f"backend.build(request({name!r}, target={target!r}), context)")
    return folder / f"{name}.out" / "module.so"


def picture(folder: Path, batch: int = 1) -> dict[str, np.ndarray]:
    """The convolutional net's input, also as `input.raw`."""
    feed = {"x": np.random.default_rng(0).random((batch, 3, 16, 16), np.float32)}
    feed["x"].tofile(folder / "input.raw")
    return feed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models with their modules: a net for two batches, TopK, which a library computes, NonZero, which Python does."""
    folder = tmp_path_factory.mktemp("modules")
    convnet(folder / "net.onnx", batch="N")
    onnx.save(onnx.parser.parse_model(TOP + "<int64[1] k = {5}> { best, at = TopK (x, k) }"), folder / "top.onnx")
    onnx.save(onnx.parser.parse_model(WHERE), folder / "where.onnx")
    ask(
        folder,
        """
from dataclasses import replace
shapes = [(batch, 3, 16, 16) for batch in (1, 2)]
backend.build(replace(request("net", {"x": (shapes[0], *shapes)}), shapes=tuple({"x": s} for s in shapes)), context)
for name in ("top", "where"):
    backend.build(request(name), context)
""",
    )
    return folder


@pytest.mark.parametrize(("name", "libraries"), [("net", ["runtime"]), ("top", ["runtime", "runtime_extra"])])
def test_python_with_the_runtime_alone(folder, tmp_path, name, libraries):
    """In an interpreter that finds nothing but numpy, tvm_ffi and the libraries named in the module's JSON."""
    for package in ("numpy", "numpy.libs", "tvm_ffi", "typing_extensions.py"):
        (tmp_path / package).symlink_to(SITE / package)
    for library in libraries:
        (tmp_path / f"libtvm_{library}.so").symlink_to(SITE / "tvm" / "lib" / f"libtvm_{library}.so")
    feed = {"x": np.random.default_rng(0).random((3, 50), np.float32)} if name == "top" else picture(tmp_path, batch=2)
    np.savez(tmp_path / "in.npz", **feed)
    command = [sys.executable, "-S", EXAMPLES / "run_tvm_module.py", folder / f"{name}.out" / "module.so"]
    environment = {"PYTHONPATH": str(tmp_path), "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run(
        [*command, "in.npz", "out.npz"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    for key, array in zip(found.files, expected(folder / f"{name}.onnx", feed), strict=True):
        assert found[key].dtype == array.dtype
        np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-5)


def test_what_runs_in_python_is_told(folder, tmp_path):
    """NonZero is a function of TVM's Python package: the JSON says so, and the example imports it."""
    module = folder / "where.out" / "module.so"
    assert json.loads(module.with_suffix(".json").read_text())["python"] == ["relax.run.nonzero"]
    np.savez(tmp_path / "in.npz", x=np.array([0, 2, 0, 1], np.float32))
    quick = "import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    example = [sys.executable, "-c", quick, EXAMPLES / "run_tvm_module.py", module]
    subprocess.run([*example, tmp_path / "in.npz", tmp_path / "out.npz"], check=True)
    assert np.load(tmp_path / "out.npz")["at"].tolist() == [[1, 3]]


def test_cpp_as_its_comment_says(folder, tmp_path):
    source = EXAMPLES / "run_tvm_module.cc"
    commands = source.read_text().split("\n\n")[1].replace("1 3 224 224", "1 3 16 16")
    for file in (source, folder / "net.out" / "module.so"):
        shutil.copy(file, tmp_path)
    feed = picture(tmp_path)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-ec", commands], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wanted,) = expected(folder / "net.onnx", feed)
    np.testing.assert_allclose(np.fromstring(done.stdout, sep="\n"), wanted[0], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not AARCH64.linker(), reason="needs g++-aarch64-linux-gnu")
def test_a_library_for_aarch64(tmp_path):
    """Its machine code is looked at in the tests of kernels, which need no linker."""
    convnet(tmp_path / "net.onnx")
    head = build(tmp_path, "net", AARCH64.name).read_bytes()[:20]
    assert (head[:4], head[18]) == (b"\x7fELF", 183)  # EM_AARCH64


@pytest.mark.slow
@pytest.mark.skipif(
    not AARCH64.linker() or not shutil.which("qemu-aarch64"), reason="needs g++-aarch64-linux-gnu and qemu-user"
)
def test_aarch64_runs_in_an_emulator(tmp_path):
    """With the runtime out of TVM's own package for that processor."""
    if platform.machine() == "aarch64":
        pytest.skip("this machine is one")
    convnet(tmp_path / "net.onnx")
    module = build(tmp_path, "net", AARCH64.name)
    names = subprocess.run([sys.executable, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    wheels = [line for line in names.splitlines() if line.startswith("apache-tvm")]
    fetch = ["download", "-q", "--platform", "manylinux_2_28_aarch64", "--only-binary=:all:", "--no-deps", *wheels]
    subprocess.run([sys.executable, "-m", "pip", *fetch], cwd=tmp_path, check=True)
    for wheel in tmp_path.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if name.endswith(("libtvm_runtime.so", "libtvm_ffi.so"))]
            archive.extractall(tmp_path, wanted)
    folders = [tmp_path / "tvm" / "lib", tmp_path / "tvm_ffi" / "lib"]
    compile_ = [AARCH64.linker(), "-std=c++17", EXAMPLES / "run_tvm_module.cc", "-o", "run"]
    links = [*(f"-L{place}" for place in folders), "-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi"]
    subprocess.run([*compile_, f"-I{SITE / 'tvm_ffi' / 'include'}", *links], cwd=tmp_path, check=True)
    feed = picture(tmp_path)
    where = ["-L", f"/usr/{AARCH64.triple}", "-E", f"LD_LIBRARY_PATH={folders[0]}:{folders[1]}"]
    run = ["qemu-aarch64", *where, "./run", module, "1", "3", "16", "16"]
    with (tmp_path / "input.raw").open("rb") as numbers:
        done = subprocess.run(run, cwd=tmp_path, stdin=numbers, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wanted,) = expected(tmp_path / "net.onnx", feed)
    np.testing.assert_allclose(np.fromstring(done.stdout, sep="\n"), wanted[0], rtol=1e-4, atol=1e-5)
