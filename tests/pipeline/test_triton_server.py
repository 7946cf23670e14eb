"""A model repository in a real Triton server: the one of PyPI's nvidia-pytriton, which runs without a GPU.

The server and its client are installed into an environment of their own, which is kept in pytest's cache; that takes a
package index.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from running import Answer, Built

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
VERSION = "0.7.0"

CLIENT = """
import json, statistics, sys, threading, time
import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import np_to_triton_dtype

folder, name, ports = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
given, expected = (dict(np.load(f"{folder}/sample/{each}.npz")) for each in ("inputs", "outputs"))
told = {}
for kind, client in (("http", http), ("grpc", grpc)):
    def ask(arrays, server):
        inputs = []
        for key, array in arrays.items():
            inputs.append(client.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array)
        return server.infer(name, inputs)
    server = client.InferenceServerClient(f"127.0.0.1:{ports[kind]}")
    found = ask(given, server)
    told[kind] = {"same": all(np.array_equal(found.as_numpy(key), array) for key, array in expected.items())}
    key, array = next(iter(given.items()))
    for wrong in (np.zeros((1, 2), array.dtype), array.astype("int8")):
        try:
            ask({key: wrong}, server)
            told[kind]["refused"] = False
        except Exception as error:
            told[kind].setdefault("refused", True)
    for count in (1, 8):
        times = []
        def work():
            mine = client.InferenceServerClient(f"127.0.0.1:{ports[kind]}")
            for _ in range(10):
                began = time.perf_counter()
                found = ask(given, mine)
                times.append(time.perf_counter() - began)
                assert all(np.array_equal(found.as_numpy(key), array) for key, array in expected.items())
        threads = [threading.Thread(target=work) for _ in range(count)]
        [each.start() for each in threads]
        [each.join() for each in threads]
        told[kind][f"answers {count}"] = len(times)
        times.sort()
        told[kind][f"p50 p99 {count}"] = [times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3]
print(json.dumps(told))
"""


@dataclass
class Server:
    """One that answers."""

    process: subprocess.Popen[bytes]
    python: Path
    ports: dict[str, int]

    def asked(self, package: Path, name: str) -> dict[str, dict[str, object]]:
        command = [str(self.python), "-c", CLIENT, str(package), name, json.dumps(self.ports)]
        done = subprocess.run(command, text=True, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def post(self, path: str) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['http']}/v2/{path}", b"", method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200

    def ready(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/v2/{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="module")
def environment(pytestconfig: pytest.Config) -> Path:
    folder = Path(pytestconfig.cache.mkdir("triton")) / VERSION  # type: ignore[union-attr]
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "numpy<2", "tritonclient[http,grpc]"], check=True)
        subprocess.run([*pip, "--no-deps", f"nvidia-pytriton=={VERSION}"], check=True)
        (site,) = folder.glob("lib/python*/site-packages")
        server = site / "pytriton" / "tritonserver"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
        shutil.copy(stub, server / "backends" / "python")
        (folder / "done").touch()
    return folder


@pytest.fixture
def serve(environment: Path, tmp_path: Path) -> Iterator[Callable[[Path], Server]]:
    started: list[subprocess.Popen[bytes]] = []
    (site,) = environment.glob("lib/python*/site-packages")
    home = site / "pytriton" / "tritonserver"

    def start(repository: Path) -> Server:
        ports = {kind: _free_port() for kind in ("http", "grpc", "metrics")}
        command = [str(home / "bin" / "tritonserver"), f"--model-repository={repository}"]
        command += [f"--backend-directory={home / 'backends'}", "--exit-timeout-secs=5"]
        command += ["--model-control-mode=explicit", "--load-model=*"]
        for kind, port in ports.items():
            command += [f"--{kind}-address=127.0.0.1", f"--{kind}-port={port}"]
        libraries = [str(site / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
        process = subprocess.Popen(
            command,
            env={
                "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(site),
                "LD_LIBRARY_PATH": ":".join(libraries),
            },
            stdout=(tmp_path / "server.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        server = Server(process, environment / "bin" / "python", ports)
        _until(lambda: server.ready("health/ready"), 60, tmp_path / "server.log")
        return server

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(holds: Callable[[], bool], seconds: float, log: Path) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, log.read_text()[-3000:]
        time.sleep(0.2)


def test_a_server_gives_the_engine_s_answers_and_outlives_bad_requests_and_a_dead_model(
    lenet: Built, enginesmith: Callable[..., Answer], serve: Callable[[Path], Server], tmp_path: Path
) -> None:
    package = tmp_path / "package"
    done = enginesmith("package", str(lenet.folder), "--for", "triton", "--out", str(package))
    assert done.status == 0, done.err
    server = serve(package / "models")
    for told in server.asked(package, "lenet").values():
        assert told["same"]
        assert told["refused"]
        assert (told["answers 1"], told["answers 8"]) == (10, 80)
    stubs = [each for each in psutil.Process(server.process.pid).children(recursive=True) if "stub" in each.name()]
    assert stubs
    for stub in stubs:
        os.kill(stub.pid, signal.SIGKILL)
    with pytest.raises(AssertionError, match="is not healthy"):  # an answer, and no waiting for one
        server.asked(package, "lenet")
    for what in ("unload", "load"):  # as the package's page says
        server.post(f"repository/models/lenet/{what}")
        time.sleep(1)
    assert server.asked(package, "lenet")["http"]["same"]
