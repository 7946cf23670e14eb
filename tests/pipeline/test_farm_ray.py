"""The farm on a real cluster: two nodes on this machine, each with resources of its own; one of them is killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from running import PROBE, Answer
from test_farm import CRASH, MAKE, PASS_ON, Runner

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.stages.registry import STAGES
from enginesmith.pipeline.farm import on_ray
from enginesmith.pipeline.farm.cells import Cell
from enginesmith.pipeline.farm.on_ray import OnRay, check_targets
from enginesmith.pipeline.farm.run import Farm
from enginesmith.pipeline.farm.tasks import make_tasks, placed

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
WHERE = "import os; (context.out / 'file').write_text(os.environ['FARM_NODE'])"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """Nodes that are ended one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._nodes: list[subprocess.Popen[bytes]] = []

    def start(self, resource: str) -> subprocess.Popen[bytes]:
        head = [] if self._nodes else ["--head", "--port", str(self.port), "--include-dashboard=false"]
        where = head or ["--address", self.address]
        own = ["--num-cpus", "1", "--resources", f'{{"{resource}": 1}}', "--object-store-memory", "100000000"]
        path = os.pathsep.join([str(PROBE), str(ROOT), os.environ.get("PYTHONPATH", "")])
        with (self.folder / f"{resource}.log").open("ab") as log:
            node = subprocess.Popen(
                [RAY, "start", *where, *own, "--disable-usage-stats", "--block"],
                env={**os.environ, "PYTHONPATH": path, "RAY_raylet_start_wait_time_s": "180", "FARM_NODE": resource},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        self._nodes.append(node)
        return node

    def wait(self, resources: set[str]) -> None:
        end = time.monotonic() + 180
        while time.monotonic() < end:
            try:
                driver = OnRay(self.address, "")
                found = set(driver.resources)
                driver.close()
                if resources <= found:
                    return
            except UserError:
                time.sleep(1)
            time.sleep(0.5)
        pytest.fail(f"no cluster with {resources} within 180 s: see {self.folder}")

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
            process.kill()
        node.wait()

    def stop(self) -> None:
        for node in reversed(self._nodes):
            if node.poll() is None:
                self.kill(node)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("ray"))
    cluster.start("head-target")
    cluster.wait({"head-target"})
    cluster.start("other-target")
    cluster.wait({"head-target", "other-target"})
    yield cluster
    cluster.stop()


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    for name in ("Probe", "Timed"):
        monkeypatch.setitem(STAGES, name.lower(), f"probe_stage:{name}")
    return Runner(tmp_path)


def on(target: str, cell: Cell, blocked: str = "no such device") -> Cell:
    """The cell with its last stage for a target that isn't here."""
    *others, last = cell.plan.stages
    stages = (*others, replace(last, target=target, blocked=blocked))
    return replace(cell, plan=replace(cell.plan, stages=stages))


def run(cluster: Cluster, runner: Runner, *cells: Cell, meanwhile: Callable[[Farm], None] | None = None) -> Farm:
    driver = OnRay(cluster.address, runner.store.address)
    there = [placed(cell, driver.resources) for cell in cells]
    farm = runner.farm(*there)
    farm.tasks = make_tasks(there, farm.costs, driver.resources)
    if meanwhile:
        threading.Thread(target=meanwhile, args=(farm,), daemon=True).start()
    farm.run(driver)
    return farm


def statuses(farm: Farm) -> list[list[str]]:
    return [[record.status for record in state.build.records] for state in farm.states]


def content(runner: Runner, farm: Farm, cell: int, stage: str) -> str:
    return (runner.store.files(farm.states[cell].build.entries[stage].key) / "file").read_text()


@pytest.mark.slow
def test_stages_run_where_their_target_is_and_shared_ones_once(cluster: Cluster, runner: Runner) -> None:
    cells = [
        on("head-target", runner.cell("a", MAKE, f"{WHERE} # a")),
        on("other-target", runner.cell("b", MAKE, f"{WHERE} # b")),
        on("nowhere", runner.cell("c", MAKE, f"{WHERE} # c")),
    ]
    farm = run(cluster, runner, *cells)
    assert sorted(map(tuple, statuses(farm))) == [
        ("built", "built"),
        ("cached", "built"),
        ("cached", "not run"),
    ]
    assert [content(runner, farm, cell, "s1") for cell in (0, 1)] == ["head-target", "other-target"]
    assert farm.built == 3
    again = run(cluster, runner, *cells)
    assert again.built == 0


@pytest.mark.slow
def test_a_stage_that_crashes_on_a_node_is_given_up_and_the_rest_goes_on(cluster: Cluster, runner: Runner) -> None:
    farm = run(cluster, runner, runner.cell("bad", CRASH, PASS_ON), runner.cell("good", MAKE, PASS_ON))
    assert statuses(farm) == [["failed", "skipped"], ["built", "built"]]
    assert "SIGABRT" in farm.states[0].build.records[0].error


@pytest.mark.slow
def test_a_node_that_is_killed_within_a_stage_costs_that_stage_alone(
    cluster: Cluster, runner: Runner, tmp_path: Path
) -> None:
    mark = tmp_path / "begun"
    code = f"import time\nfrom pathlib import Path\nm = Path({str(mark)!r})\nfirst = not m.exists()\nm.touch()\n"
    code += f"if first: time.sleep(600)\n{MAKE}"
    node = cluster.start("doomed")
    cluster.wait({"doomed"})
    cells = [
        on("doomed", runner.cell("victim", MAKE, code)),
        on("head-target", runner.cell("other", MAKE, f"{PASS_ON} # other")),
    ]

    def kill(farm: Farm) -> None:
        while not mark.exists():
            time.sleep(0.1)
        cluster.kill(node)
        cluster.start("doomed")  # the machine comes back

    farm = run(cluster, runner, *cells, meanwhile=kill)
    assert statuses(farm)[0][1] == statuses(farm)[1][1] == "built"
    assert farm.crashes >= 1
    assert runner.store.verify() == []
    assert farm.poison.crashes(next(reversed(farm.tasks))) == 0, "the stage is innocent"


def test_a_target_that_no_node_has_is_told_with_those_there_are(runner: Runner) -> None:
    cell = on("sm_99", runner.cell("a", MAKE, PASS_ON))
    with pytest.raises(UserError, match=r"no node has the target sm_99 \(resources of the cluster: sm_89 on 2\)"):
        check_targets([cell], {"sm_89": 2})
    check_targets([cell], {"sm_99": 1})


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:FREE", "no head of a Ray cluster answers"),
        ("ray://127.0.0.1:FREE", "no head of a Ray cluster answers"),
        ("no.such.host.invalid:6379", "no head of a Ray cluster answers"),
        ("locall", "give local, auto, HOST:PORT or ray://HOST:PORT"),
        ("ray://here", "give local, auto, HOST:PORT or ray://HOST:PORT"),
        ("127.0.0.1:99999999", "no head of a Ray cluster answers"),
    ],
)
def test_a_head_that_cannot_be_reached_is_one_line(
    enginesmith: Callable[..., Answer], tmp_path: Path, address: str, told: str
) -> None:
    (tmp_path / "m.yaml").write_text("models: [lenet]\nbackends: [tvm]")
    answer = enginesmith("farm", "m.yaml", "--address", address.replace("FREE", str(_free_port())))
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert told in answer.err


def test_an_old_ray_and_none_at_all_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.9.3"))
    with pytest.raises(UserError, match=r"Ray 2\.9\.3 is too old; 2\.40 or newer"):
        on_ray.connect("127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'enginesmith\[farm\]'"):
        on_ray.connect("127.0.0.1:1")
