"""What is in the wheel and the sdist, and that an installed wheel is all that Enginesmith needs of itself."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from browser import browse, chromium, drawn_plots

__all__ = ["chromium"]

ROOT = Path(__file__).parents[2]
FLOORS = ("pipeline", "converters", "compat")
REFUSED = """
<ir_version: 10, opset_import: ["" : 18]>
resized (float[1, 3, 8, 8] x) => (float[1, 3, 16, 16] y) <float[4] scales = {1, 1, 2, 2}> {
  y = Resize <mode = "linear", antialias = 1> (x, , scales)
}
"""
LOG = """[E] [TRT] ModelImporter.cpp:140: While parsing node number 7 [Resize -> "y"]:
[E] [TRT] ModelImporter.cpp:151: ERROR: onnxOpCheckers.cpp:749 In function checkResize:
[9] (antialias == 0) && "Antialiasing is not supported currently."
"""


@dataclass(frozen=True)
class Distributions:
    """An sdist, and the wheel that was built from it."""

    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Installation:
    """An environment with the wheel, away from the checkout; commands run in `folder`."""

    bin: Path
    folder: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "ENGINESMITH_STORE": str(self.folder / "store"),
        }
        program = self.bin / command[0]
        return subprocess.run(
            [program, *command[1:]], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=240
        )


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Distributions(sdist, wheel)


@pytest.fixture(scope="module")
def installed(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel in an environment of its own, that sees what is installed here, but not the checkout: a line of a .pth
    file is a folder to look in, and the .pth files there, such as that of an editable install, are not read.
    """
    environment = tmp_path_factory.mktemp("installed") / "environment"
    venv.create(environment, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-index", distributions.wheel], check=True)
    packages = environment / sysconfig.get_path("purelib", vars={"base": ""}).lstrip("/")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return Installation(environment / "bin", tmp_path_factory.mktemp("elsewhere"))


def expected() -> set[str]:
    """Every file of the three floors and of the package, as the package sees them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "enginesmith", *FLOORS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    files = [name for name in listed if (ROOT / name).is_file()]
    return {name if name.startswith("enginesmith/") else f"enginesmith/{name}" for name in files}


def test_the_wheel_has_every_module_and_data_file_and_no_other(distributions: Distributions) -> None:
    names = set(zipfile.ZipFile(distributions.wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == expected()
    assert {"enginesmith/compat/repairs/__init__.py", "enginesmith/pipeline/report/style.css"} <= names


def test_the_sdist_has_every_module_and_data_file_and_no_other(distributions: Distributions) -> None:
    with tarfile.open(distributions.sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() for member in members), "links would point nowhere"
    names = {member.name.partition("/")[2] for member in members}
    assert names - expected() == {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}
    assert expected() <= names


def test_the_installed_package_is_the_wheels(installed: Installation) -> None:
    show = "import enginesmith.compat.repairs, enginesmith as package; print(package.__file__)"
    answer = installed.run("python", "-c", show)
    assert answer.returncode == 0, answer.stderr
    assert Path(answer.stdout.strip()).is_relative_to(installed.bin.parent)


def test_it_builds_engines_and_a_report(installed: Installation, chromium: str, tmp_path: Path) -> None:
    answer = installed.run(
        "enginesmith", "build", "lenet", "--backend", "tensorrt-rtx,tvm", "--measure", "0.2", "--out", "out"
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    out = installed.folder / "out"
    manifest = json.loads((out / "manifest.json").read_text())
    assert {engine["backend"]: engine["verified"] for engine in manifest["engines"]} == {
        "tensorrt-rtx": "not run",
        "tvm": "yes",
    }
    entries = [json.loads(path.read_text()) for path in (installed.folder / "store").rglob("entry.json")]
    read = [name for entry in entries for name in entry["facts"]["source_files"]]
    assert (len(entries) > 5, read) == (True, []), "none of the user's: lenet is ours, everything else is installed"
    document, console = browse(chromium, tmp_path, (out / "report.html").read_text())
    assert console == []
    assert drawn_plots(document)


def test_it_examines_explains_and_writes_its_pages(installed: Installation) -> None:
    onnx.save(onnx.parser.parse_model(REFUSED), installed.folder / "model.onnx")
    (installed.folder / "build.log").write_text(LOG)
    doctor = installed.run("enginesmith", "doctor", "model.onnx", "--for", "tensorrt-rtx", "--fix", "fixed.onnx")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "confirmed" in doctor.stdout
    assert (installed.folder / "fixed.onnx").is_file()
    explain = installed.run("enginesmith", "explain", "build.log")
    assert explain.returncode == 0, explain.stdout + explain.stderr
    assert "Resize" in explain.stdout
    pages = installed.run("enginesmith", "pages", "--out", "pages")
    assert pages.returncode == 0, pages.stderr
    assert len(list((installed.folder / "pages").glob("*.md"))) > 400
