"""Builds that several tests look at, and ways to make more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_onnx

PROBE = Path(__file__).with_name("probe")
sys.path.insert(0, str(PROBE))

from running import Answer, Built, CommandLine, Probes  # noqa: E402

from enginesmith.converters.stages.registry import STAGES  # noqa: E402
from enginesmith.pipeline.job.store import Store  # noqa: E402


def _build(shell: CommandLine, out: Path, *arguments: str) -> Built:
    again = ("build", *arguments, "--out", str(out))
    return Built(shell, again, shell.run(*again), out)


@pytest.fixture(scope="session")
def lenet(tmp_path_factory: pytest.TempPathFactory, shared_store: Path) -> Built:
    """LeNet with TVM and TensorRT-RTX."""
    folder = tmp_path_factory.mktemp("lenet")
    arguments = ("lenet", "--backend", "tensorrt-rtx,tvm", "--target", "sm_86,native", "--measure", "0.2")
    return _build(CommandLine(folder, shared_store), folder / "out", *arguments)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, shared_store: Path) -> Built:
    """One small ONNX file with TVM."""
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny_onnx.linear(folder / "tiny.onnx")
    arguments = (str(model), "--backend", "tvm", "--measure", "0", "--no-simplify")
    return _build(CommandLine(folder, shared_store), folder / "out", *arguments)


@pytest.fixture
def shell(tmp_path: Path, shared_store: Path) -> CommandLine:
    return CommandLine(tmp_path, shared_store)


@pytest.fixture
def enginesmith(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """The command line in this process, in the folder `tmp_path`."""
    from enginesmith.pipeline.cli import app as cli

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["enginesmith", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Answer(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probes:
    monkeypatch.setitem(STAGES, "probe", "probe_stage:Probe")
    return Probes(Store(tmp_path / "store"), tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a disk of the size given, such as `300k`."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / f"disk-{size}"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
