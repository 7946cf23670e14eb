"""Packages: what is in them runs without us, and says where it comes from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from running import Answer, Built, CommandLine
from test_serve import classifier

from enginesmith.converters.serving.packages.record import Package

Cli = Callable[..., Answer]


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python that has numpy and nothing else that is installed here."""
    site = tmp_path_factory.mktemp("site")
    for name in ("numpy", "numpy.libs"):
        (site / name).symlink_to(Path(np.__file__).parents[1] / name)
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"

    def run(folder: Path, *arguments: str, also: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), also])), "PATH": os.environ["PATH"]}
        command = [str(python), "-S", "-B", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, timeout=120)

    for name in ("enginesmith", "tvm_ffi", "tvm"):
        assert "ModuleNotFoundError" in run(site, "-c", f"import {name}").stderr
    return run


@pytest.fixture(scope="session")
def packed(tiny: Built, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The small build's module in a form, made once."""
    root = tmp_path_factory.mktemp("packages")

    def make(form: str) -> Path:
        out = root / form
        if not out.exists():
            shell = CommandLine(tiny.folder, tiny.shell.store)
            done = shell.run("package", str(tiny.folder), "--for", form, "--out", str(out), "--unverified")
            assert done.returncode == 0, done.stderr
        return out

    return make


@pytest.fixture
def package_of_lenet(lenet: Built, enginesmith: Cli, tmp_path: Path) -> Callable[..., Path]:
    def make(form: str, *arguments: str) -> Path:
        out = tmp_path / "package"
        done = enginesmith("package", str(lenet.folder), "--for", form, "--out", str(out), *arguments)
        assert done.status == 0, done.err
        return out

    return make


def test_a_python_package_checks_itself_with_numpy_alone(package_of_lenet: Callable[..., Path], bare) -> None:
    package = package_of_lenet("python")
    done = bare(package, "check.py")
    assert (done.returncode, done.stdout) == (0, "output float32 [1, 10]: as expected\n"), done.stderr
    bare(package, "runner.py", "sample/inputs.npz", "out.npz")
    np.testing.assert_array_equal(
        np.load(package / "out.npz")["output"], np.load(package / "sample/outputs.npz")["output"]
    )
    outputs = dict(np.load(package / "sample" / "outputs.npz"))
    np.savez(package / "sample" / "outputs.npz", output=outputs["output"] + 1)
    assert "DIFFERS" in bare(package, "check.py").stdout


def test_the_runner_refuses_inputs_that_dont_fit_and_goes_on(package_of_lenet: Callable[..., Path], bare) -> None:
    package = package_of_lenet("python")
    script = """
import numpy as np
from runner import Engine
engine = Engine(threads=1)
good = np.load("sample/inputs.npz")["images"]
for feed in ({}, {"x": good}, {"images": good.astype("f8")}, {"images": good[:, :, 1:]}):
    try:
        engine(feed)
    except ValueError as error:
        print(error)
engine.inputs["images"] = ("float32", [1, 1, 27, 28])
try:
    engine({"images": good[:, :, 1:]})
except RuntimeError as error:
    print("the runtime says", error)
engine.inputs["images"] = ("float32", [1, 1, 28, 28])
assert np.array_equal(engine({"images": good})["output"], np.load("sample/outputs.npz")["output"])
"""
    done = bare(package, "-c", script)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "the inputs are images, and not none"
    assert lines[2] == "images is float64, and the engine takes float32"
    assert lines[3] == "images has the shape [1, 1, 27, 28], and the engine takes [1, 1, 28, 28]"
    assert lines[4].startswith("the runtime says")


def test_a_graph_is_packed_for_onnx_runtime(package_of_lenet: Callable[..., Path]) -> None:
    package = package_of_lenet("python", "--backend", "onnxruntime")
    assert "onnxruntime" in (package / "requirements.txt").read_text()
    assert not (package / "runtime").exists()
    done = subprocess.run([sys.executable, "check.py"], cwd=package, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, "output float32 [1, 10]: as expected\n"), done.stderr
    assert Package.read(package).verified == "yes", "the graph was compared with the model"


def test_a_cpp_package_is_compiled_and_checks_itself(package_of_lenet: Callable[..., Path]) -> None:
    package = package_of_lenet("cpp")
    line = next(each.strip() for each in (package / "README.md").read_text().splitlines() if "g++" in each)
    subprocess.run(line.replace("-O2", "-Wall -Wextra -Werror"), shell=True, cwd=package, check=True, timeout=240)
    done = subprocess.run(["./run"], cwd=package, text=True, capture_output=True, env={}, check=False)
    assert (done.returncode, done.stdout) == (0, "output: as expected\n"), done.stderr
    expected = (package / "sample" / "output0.bin").read_bytes()
    subprocess.run(["./run", ".", "sample/input0.bin"], cwd=package, check=True)
    assert (package / "output0.bin").read_bytes() == expected
    (package / "sample" / "output0.bin").write_bytes(bytes(len(expected)))
    assert subprocess.run(["./run"], cwd=package, capture_output=True, check=False).returncode == 1
    (package / "short.bin").write_bytes(b"1234")
    short = subprocess.run(["./run", ".", "short.bin"], cwd=package, text=True, capture_output=True, check=False)
    assert "images has 4 bytes" in short.stderr


@pytest.mark.slow
def test_a_cpp_package_builds_with_cmake(package_of_lenet: Callable[..., Path], tmp_path: Path) -> None:
    package = package_of_lenet("cpp")
    subprocess.run(["cmake", "-S", str(package), "-B", str(tmp_path / "made")], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(tmp_path / "made")], check=True, capture_output=True)
    subprocess.run(["ctest", "--test-dir", str(tmp_path / "made")], check=True, capture_output=True)


def test_a_wheel_gives_a_model_that_is_called_by_its_inputs(
    package_of_lenet: Callable[..., Path], bare, tmp_path
) -> None:
    package = package_of_lenet("wheel")
    (wheel,) = package.glob("*.whl")
    assert wheel.name == "lenet-1.0-py3-none-linux_x86_64.whl"
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")  # what pip does
    record = (tmp_path / "site" / "lenet-1.0.dist-info" / "RECORD").read_text().splitlines()
    assert {line.split(",")[0] for line in record} == set(zipfile.ZipFile(wheel).namelist())
    script = """
import numpy as np, lenet
inputs, outputs = (np.load(f"sample/{name}.npz") for name in ("inputs", "outputs"))
model = lenet.load(threads=1)
assert np.array_equal(model(images=inputs["images"])["output"], outputs["output"])
assert np.array_equal(model(inputs["images"])["output"], outputs["output"])
"""
    done = bare(package, "-c", script, also=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr


def test_an_image_is_made_by_a_dockerfile_without_faults(packed: Callable[[str], Path]) -> None:
    package = packed("oci")
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():  # beside the Python that the tests' own one stands for
        linter = Path(sys.prefix) / "bin" / "hadolint"
    done = subprocess.run([str(linter), "Dockerfile"], cwd=package, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_repository_for_triton_states_the_engines_inputs_and_outputs(package_of_lenet: Callable[..., Path]) -> None:
    package = package_of_lenet("triton=26.07")
    config = (package / "models" / "lenet" / "config.pbtxt").read_text()
    assert 'input [ { name: "images" data_type: TYPE_FP32 dims: [ 1, 1, 28, 28 ] } ]' in config
    assert 'output [ { name: "output" data_type: TYPE_FP32 dims: [ 1, 10 ] } ]' in config
    assert 'backend: "python"' in config
    assert "26.07" in (package / "README.md").read_text()


def test_an_open_batch_is_triton_s_own(enginesmith: Cli, tmp_path: Path) -> None:
    model = classifier(tmp_path / "m.onnx")
    arguments = ("--for", "triton", "--out", "p", "--shape", "images:2x3x32x32", "--unverified")
    done = enginesmith("package", str(model), *arguments)
    assert done.status == 0, done.err
    config = (tmp_path / "p" / "models" / "m" / "config.pbtxt").read_text()
    assert re.search(r"max_batch_size: [1-9]", config)
    assert "dims: [ 3, 32, 32 ]" in config
    assert "dynamic_batching" in config
    assert 'backend: "onnxruntime"' in config


def test_a_package_says_where_it_comes_from(lenet: Built, package_of_lenet: Callable[..., Path]) -> None:
    record = Package.read(package_of_lenet("python"))
    engine = next(each for each in lenet.manifest.engines if each.backend == "tvm")
    assert record.engine_sha256 == engine.sha256
    assert (record.verified, record.verified_reason) == (engine.verified, engine.verified_reason)
    assert record.weights == lenet.manifest.model.weights
    assert record.tools["apache-tvm"]
    assert record.licences["apache-tvm"] == "Apache-2.0"


def test_the_bill_of_materials_names_what_comes_along(package_of_lenet: Callable[..., Path]) -> None:
    package = package_of_lenet("python")
    bom = json.loads((package / "bom.cdx.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    names = {each["name"] for each in bom["components"]}
    assert {"engine/module.so", "apache-tvm", "apache-tvm-ffi", "numpy"} == names
    references = {each["bom-ref"] for each in (*bom["components"], bom["metadata"]["component"])}
    assert {ref for each in bom["dependencies"] for ref in (each["ref"], *each["dependsOn"])} <= references
    assert (package / "licences" / "apache-tvm" / "LICENSE").read_text().strip().startswith("Apache License")


def test_verify_names_every_file_that_was_changed_added_or_lost(
    packed: Callable[[str], Path], enginesmith: Cli, tmp_path
) -> None:
    package = tmp_path / "copy"
    shutil.copytree(packed("python"), package)
    assert enginesmith("verify", str(package)).status == 0
    (package / "runner.py").write_text("import os")
    (package / "extra.py").write_text("")
    (package / "check.py").unlink()
    (package / "link").symlink_to("/etc/passwd")
    done = enginesmith("verify", str(package))
    assert done.status == 1
    faults = set(done.out.splitlines()[:4])
    assert faults == {"runner.py was changed", "extra.py was added", "check.py is missing", "link was added"}
    assert enginesmith("verify", str(tmp_path)).status == 2
    (package / "package.json").write_text("{}")
    assert enginesmith("verify", str(package)).status == 2


def test_an_engine_that_is_not_verified_is_packed_only_on_demand(tiny: Built, enginesmith: Cli, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder, tmp_path / "build")
    manifest = json.loads((tmp_path / "build" / "manifest.json").read_text())
    manifest["engines"][0].update(verified="no", verified_reason="outputs differ")
    (tmp_path / "build" / "manifest.json").write_text(json.dumps(manifest))
    refused = enginesmith("package", "build", "--for", "python", "--out", "p")
    assert refused.status == 2
    assert "not verified (no: outputs differ); --unverified packs it" in refused.err
    assert not (tmp_path / "p").exists()
    assert enginesmith("package", "build", "--for", "python", "--out", "p", "--unverified").status == 0
    assert Package.read(tmp_path / "p").unverified
    assert "**Not verified** (no: outputs differ)" in (tmp_path / "p" / "README.md").read_text()
    assert "outputs differ" in enginesmith("verify", "p").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--for", "tritn"], "unknown form of a package 'tritn'; did you mean triton?"),
        (["--for", "python=26.07"], "--for python has no releases"),
        (["--for", "triton=99.01"], "is not on record"),
        (["--for", "python", "--out", "full"], "full exists"),
        (["--for", "cpp", "--backend", "onnxruntime"], "a package for cpp holds an engine of tvm"),
        (["--for", "python", "--backend", "tensorrt-rtx"], "a package for python holds an engine of tvm, onnxruntime"),
        (["--for", "triton", "--backend", "tensorrt-rtx"], "a package for triton holds"),
    ],
)
def test_a_bad_request_for_a_package_is_one_line(
    arguments: list[str], said: str, lenet: Built, enginesmith: Cli, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = enginesmith("package", str(lenet.folder), *arguments)
    assert done.status == 2, done.err
    assert said in done.err
    assert done.err.count("\n") == 1


def test_weights_beside_a_graph_go_along(enginesmith: Cli, tmp_path: Path) -> None:
    import onnx
    import tiny_onnx

    model = onnx.load(tiny_onnx.linear(tmp_path / "tiny.onnx"))
    place = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(model, tmp_path / "outside.onnx", **place)
    done = enginesmith("package", "outside.onnx", "--for", "python", "--out", "p", "--unverified")
    assert done.status == 0, done.err
    assert (tmp_path / "p" / "engine" / "weights.bin").is_file()
    checked = subprocess.run(
        [sys.executable, "check.py"], cwd=tmp_path / "p", text=True, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
