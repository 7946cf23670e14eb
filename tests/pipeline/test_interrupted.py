"""Ctrl-C and `kill -9`, at the real command line."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
import tiny_onnx
from running import CommandLine

from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.job.store import Store

ARGUMENTS = ("build", "net.onnx", "--backend", "tvm", "--measure", "0", "--no-simplify")


@pytest.fixture
def shell(tmp_path):
    tiny_onnx.linear(tmp_path / "net.onnx", width=5)
    return CommandLine(tmp_path, tmp_path / "store")


def run_until(process, stage: str) -> list[psutil.Process]:
    """Read until the stage has begun; returns its worker, and the processes between."""
    for line in process.stdout:
        if f"] {stage}" in line:
            break
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if len(started := psutil.Process(process.pid).children(recursive=True)) > 1:
            return started
    pytest.fail("no worker came")


def finish(shell: CommandLine) -> dict[str, str]:
    done = shell.run(*ARGUMENTS, "--json")
    assert done.returncode == 0, done
    return {stage.id.split()[0]: stage.status for stage in Manifest.model_validate_json(done.stdout).stages}


def test_ctrl_c(shell):
    """As a terminal sends it: to the whole process group."""
    with shell.start(*ARGUMENTS) as process:
        started = run_until(process, "compile tvm")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "enginesmith: stopped; what is finished is in the store\n"
    assert "Traceback" not in out
    assert psutil.wait_procs(started, 10)[1] == []
    store = Store(shell.store)
    assert store.verify() == []
    assert len(list(store.entries())) == 2
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.slow
def test_kill_9_and_the_next_run_goes_on(shell):
    with shell.start(*ARGUMENTS) as process:
        started = run_until(process, "compile tvm")
        process.kill()
        assert psutil.wait_procs(started, 10)[1] == []
    store = Store(shell.store)
    assert store.verify() == []
    states = finish(shell)
    assert states == {"import": "cached", "compare": "built", "compile": "built"}
    assert list((store.root / "tmp").iterdir()) == []
