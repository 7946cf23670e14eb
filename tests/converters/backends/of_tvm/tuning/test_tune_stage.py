"""The stage: on this machine, and over TVM's RPC on two servers at a tracker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.isolated import Isolated

OPTIONS = {"backend": "tvm", "target": "x86-64-v3", "seconds": 2.0, "threads": 1, "code": "1", "machine": ""}


@pytest.fixture
def tune(tuner: Isolated, net: dict[str, str], tmp_path: Path) -> Any:
    def run(out: str, inputs: dict[str, str] = net, **options: Any) -> Any:
        given = {**OPTIONS, **options}
        told = tuner.call("tuning_calls:tune", inputs, given, str(tmp_path / out), str(tmp_path / "cache"), timeout=120)
        return told["tuning"] if "tuning" in told else told["refused"]

    return run


def test_the_stage_tunes_remembers_and_is_never_slower(tune: Any, tmp_path: Path) -> None:
    first = tune("first")
    assert first["measurements"] > 0
    assert {kernel["calls"] for kernel in first["kernels"]} == {1}
    assert first["kept"] == bool(first["default_ms"] and first["tuned_ms"] < first["default_ms"] * 0.995)
    schedules = json.loads((tmp_path / "first" / "schedules.json").read_bytes())
    assert first["kept"] or schedules == {"schedules": {}, "sizes": {}}
    second = tune("second", seconds=0.2)
    assert second["remembered"] > 0
    assert Path(first["database"]) == Path(second["database"])


def test_a_search_without_a_single_measurement_is_an_error(tune: Any) -> None:
    assert "no kernel was measured" in tune("none", seconds=1e-9, code="never")


def test_a_graph_that_is_refused_is_repaired_before_it_is_tuned(tune: Any, refused_net: dict[str, str]) -> None:
    assert tune("repaired", refused_net, seconds=0.2)["kernels"]
    assert "tvm refuses 1 node: Pow" in tune("refused", refused_net, repair=False)


@pytest.fixture
def tracker() -> Iterator[str]:
    """A tracker with two servers, each in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module, address = [sys.executable, "-m"], f"127.0.0.1:{port}"
    quiet: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "start_new_session": True,
        "env": {**os.environ, "TVM_NUM_THREADS": "1"},
    }
    started = [
        subprocess.Popen(
            [*module, "tvm.exec.rpc_tracker", "--host", "127.0.0.1", f"--port={port}", f"--port-end={port + 1}"],
            **quiet,
        ),
        *(
            subprocess.Popen(
                [*module, "tvm.exec.rpc_server", "--host", "127.0.0.1", "--tracker", address, "--key", "board"], **quiet
            )
            for _ in range(2)
        ),
    ]
    try:
        yield address
    finally:
        for process in started:
            os.killpg(process.pid, 9)
            process.wait()


def test_over_a_tracker_on_two_servers(tuner: Isolated, tune: Any, tracker: str) -> None:
    deadline = time.monotonic() + 60
    while servers(tuner, tracker) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    told = tune("remote", tuners=f"{tracker}/board")
    assert told["machines"] == 2
    assert told["measurements"] > told["failed"]
    assert any(kernel["default_ms"] > 0 for kernel in told["kernels"])
    assert "no machine waits under the key chip" in tune("nobody", tuners=f"{tracker}/chip")


def servers(tuner: Isolated, tracker: str) -> int:
    """That the tracker knows by now."""
    try:
        return int(
            tuner.call("enginesmith.converters.backends.tvm.tuning.machine:machines", f"{tracker}/board", timeout=60)
        )
    except UserError:
        return 0
