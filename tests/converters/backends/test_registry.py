import os
import subprocess
import sys
from pathlib import Path

import pytest

from enginesmith.converters.backends import BACKENDS, OURS, Registry, buildable, get_backend
from enginesmith.converters.backends.tensorrt import backend as tensorrt
from enginesmith.converters.backends.tensorrt.gpu import Gpu, local_gpus
from enginesmith.converters.backends.tvm import target as targets
from enginesmith.converters.backends.tvm.target import CpuTarget, parse
from enginesmith.converters.core.errors import UserError

no_gpu = pytest.mark.skipif(bool(local_gpus()), reason="for machines without a GPU")


def test_backends_are_named():
    assert list(BACKENDS)[:3] == list(OURS) == ["tensorrt", "tensorrt-rtx", "tvm"]
    assert all(get_backend(name).name == name for name in BACKENDS)


def test_an_unknown_backend_gets_the_nearest_names():
    with pytest.raises(UserError, match="did you mean tensorrt"):
        get_backend("tensort")


PLUGGED = """
from enginesmith.converters.backends.tvm.backend import TvmBackend

class Plugged(TvmBackend):
    name = "plugged"
    packages = ("plugged-in",)

class Renamed(TvmBackend):
    pass
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch) -> Path:
    """A distribution with four backends beside the installed ones: one works, and three don't."""
    (tmp_path / "plugged_in.py").write_text(PLUGGED)
    (tmp_path / "gone.py").write_text("import no_such_framework")
    folder = tmp_path / "plugged_in-0.7.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-in\nVersion: 0.7\n")
    names = {"plugged": "plugged_in:Plugged", "gone": "gone:Gone", "renamed": "plugged_in:Renamed", "tvm": "gone:Tvm"}
    lines = [f"{name} = {place}" for name, place in names.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[enginesmith.backends]", *lines]))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_plug_ins_come_after_ours_and_one_that_does_not_load_says_why(plugins):
    backends = Registry()
    assert [*backends][:3] == list(OURS)
    assert {"gone", "plugged", "renamed"} <= {*backends}
    assert backends["plugged"].version() == "0.7"
    assert backends["plugged"].available() == backends["tvm"].available()
    assert backends["tvm"] is not backends["plugged"]
    assert backends["gone"].available() == (
        "its plug-in plugged-in doesn't load: ModuleNotFoundError: No module named 'no_such_framework'"
    )
    assert "calls itself 'tvm'" in (backends["renamed"].available() or "")
    with pytest.raises(UserError, match="plug-in plugged-in doesn't load"):
        backends["gone"].resolve_target("auto")


def test_a_broken_plug_in_is_a_line_and_no_crash(plugins):
    environment = {**os.environ, "PYTHONPATH": str(plugins)}
    command = [sys.executable, "-m", "enginesmith", "env", "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "its plug-in plugged-in doesn't load" in shown.stdout
    command = [sys.executable, "-m", "enginesmith", "build", "lenet", "--backend", "gone"]
    refused = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "backend gone can't build here: its plug-in plugged-in doesn't load" in refused.stderr


def test_importing_the_backends_imports_no_framework():
    heavy = "torch tvm onnx onnxruntime tensorrt tensorrt_rtx polygraphy numpy yaml"
    code = f"""
import sys
from enginesmith.converters.backends import BACKENDS, buildable
buildable()
for backend in BACKENDS.values():
    backend.version(), backend.runnable("sm_89" if "tensorrt" in backend.name else "x86-64")
print([name for name in "{heavy}".split() if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_can_be_built_is_what_is_available():
    assert buildable() == [name for name, backend in BACKENDS.items() if backend.available() is None]


@no_gpu
def test_tensorrt_says_that_it_needs_a_gpu_or_an_installation():
    backend = get_backend("tensorrt")
    assert "no GPU" in (backend.available() or "") or "not installed" in (backend.available() or "")
    with pytest.raises(UserError, match="no GPU"):
        backend.resolve_target("auto")


@no_gpu
@pytest.mark.parametrize("given", ["sm_89", "SM89", "sm89", "8.9", "auto"])
def test_rtx_targets_have_one_name(given):
    assert get_backend("tensorrt-rtx").resolve_target(given) == "sm_89"


def test_rtx_names_the_nearest_target():
    with pytest.raises(UserError, match="did you mean sm_8"):
        get_backend("tensorrt-rtx").resolve_target("sm_88")


def test_rtx_names_a_gpu_that_it_does_not_know(monkeypatch):
    monkeypatch.setattr(tensorrt, "local_gpus", lambda: (Gpu("NVIDIA H100 80GB HBM3", "sm_90"),))
    backend = get_backend("tensorrt-rtx")
    assert backend.resolve_target("auto") == "sm_89"
    assert backend.runnable("sm_89") == "built for sm_89, and the GPU here is sm_90 (NVIDIA H100 80GB HBM3)"
    with pytest.raises(
        UserError, match=r"sm_90 \(NVIDIA H100 80GB HBM3\), which it doesn't know; name a target: sm_75"
    ):
        backend.resolve_target("native")


@no_gpu
def test_rtx_does_not_run_without_a_gpu(tmp_path):
    backend = get_backend("tensorrt-rtx")
    assert backend.runnable("sm_89") == "no GPU"
    with pytest.raises(UserError, match="no GPU"):
        backend.resolve_target("native")
    with pytest.raises(UserError, match="no GPU"):
        backend.runner(tmp_path / "engine.trt")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("x86-64-v3", "x86-64-v3"),
        ("x86_64-unknown-linux-gnu", "x86-64"),
        ("x86_64-linux-gnu:znver3", "x86_64-linux-gnu:znver3"),
        ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu"),
        ("aarch64-linux-gnu:cortex-a72", "aarch64-linux-gnu:cortex-a72"),
        ("x86_64-linux-gnu:x86-64-v4+vnni", "x86-64-v4+vnni"),
        ("aarch64-unknown-linux-gnu+dotprod", "aarch64-linux-gnu+dotprod"),
    ],
)
def test_targetss_have_one_name(given, name):
    assert get_backend("tvm").resolve_target(given) == name
    assert get_backend("tvm").resolve_target(name) == name


def test_tvm_native_runs_here_and_is_a_name_of_its_own():
    backend = get_backend("tvm")
    native = backend.resolve_target("native")
    assert native == backend.resolve_target("auto") == parse(native).name
    assert backend.runnable(native) is None


def test_tvm_says_what_an_engine_for_another_cpu_lacks(monkeypatch):
    backend = get_backend("tvm")
    assert "aarch64" in (backend.runnable("aarch64-linux-gnu") or "")
    monkeypatch.setattr(targets, "_cpu_flags", lambda: targets._required(parse("x86-64-v3")))
    assert backend.runnable("x86-64-v3") is None
    assert "avx512f" in (backend.runnable("x86-64-v4") or "")
    assert "lacks avx_vnni" in (backend.runnable("x86-64-v3+vnni") or "")


def test_tvm_names_the_nearest_target():
    with pytest.raises(UserError, match="did you mean x86-64-v"):
        get_backend("tvm").resolve_target("x86-64-v5")
    with pytest.raises(UserError, match=r"did you mean x86-64-v\d\+vnni"):
        get_backend("tvm").resolve_target("x86-64-v2+vnni")


def test_tvm_asks_llvm_for_processors_before_anything_runs(monkeypatch):
    backend = get_backend("tvm")
    with pytest.raises(UserError, match="unknown processor of x86_64-linux-gnu 'znver44'; did you mean znver4"):
        backend.buildable("x86_64-linux-gnu:znver44")
    with pytest.raises(UserError, match="comes after its triple, such as x86_64-linux-gnu:znver4"):
        backend.resolve_target("znver4")
    monkeypatch.setattr(targets.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(targets, "_cpu_flags", lambda: targets._required(targets.parse("x86-64-v3")))
    assert backend.runnable("x86_64-linux-gnu:haswell") is None
    assert "avx512f" in (backend.runnable("x86_64-linux-gnu:znver4") or "")


def test_tvm_needs_a_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "g++" in (get_backend("tvm").available() or "")
    assert CpuTarget("aarch64-linux-gnu", "").linker() == ""
    assert "apt install g++-aarch64-linux-gnu" in (get_backend("tvm").buildable("aarch64-linux-gnu:cortex-a72") or "")
