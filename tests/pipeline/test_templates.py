"""The warm processes that workers are forked from: who shares one, and what becomes of a worker when one is lost."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from probe_stage import Probe, ProbeOptions
from running import PROBE

from enginesmith.converters.backends import BACKENDS
from enginesmith.converters.core.plan import PlannedStage
from enginesmith.converters.stages.registry import STAGES, load_stage
from enginesmith.pipeline.job import warm as warm_process
from enginesmith.pipeline.job.process import Limits, run_worker
from enginesmith.pipeline.job.templates import Template, Templates

PROBES = PlannedStage("a", "probe", ProbeOptions())


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.setitem(STAGES, "probe", "probe_stage:Probe")
    with Templates([PROBES], {"PYTHONPATH": str(PROBE)}, tmp_path / "log") as pool:
        yield pool


def warm() -> list[int]:
    """Ids of the warm processes that this one has started."""
    return [child.pid for child in psutil.Process().children() if warm_process.__name__ in child.cmdline()]


def run(template: Template | None, tmp_path: Path, code: str) -> str:
    """What became of a worker, in a word or two."""
    place = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
    place.mkdir()
    limits, heard = Limits(60, 2**40), lambda event: None
    environment = {"PYTHONPATH": str(PROBE)}
    ended = run_worker(
        "probe", {"code": code}, {}, place, tmp_path, tmp_path / "w.log", limits, environment, heard, template=template
    )
    return ended.result.message or ended.result.outcome


def test_none_runs_before_a_stage_asks_for_it(pool):
    assert warm() == []
    template = pool.get(PROBES)
    assert len(warm()) == 1
    assert pool.get(PROBES) is template


def test_it_outlives_the_crash_of_a_worker(pool, tmp_path):
    template = pool.get(PROBES)
    parent = f"import os; assert os.getppid() == {warm()[0]}"
    assert run(template, tmp_path, parent) == "ok"
    assert "SIGSEGV" in run(template, tmp_path, "import ctypes; ctypes.string_at(0)")
    assert "SIGKILL" in run(template, tmp_path, "import os; os.kill(0, 9)")
    assert run(template, tmp_path, parent) == "ok"


def test_one_that_has_died_is_replaced(pool, tmp_path):
    template = pool.get(PROBES)
    first = warm()[0]
    assert "SIGKILL" in run(template, tmp_path, "import os; os.kill(os.getppid(), 9); import time; time.sleep(60)")
    assert run(template, tmp_path, f"import os; assert os.getppid() == {os.getpid()}") == "ok", "a process of its own"
    assert run(pool.get(PROBES), tmp_path, f"import os; assert os.getppid() not in ({os.getpid()}, {first})") == "ok"


def test_what_leaves_threads_running_is_not_forked(pool, tmp_path, monkeypatch):
    """As onnxruntime does."""
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    monkeypatch.setattr(Probe, "preload", ("threaded",))
    with Templates([PROBES], {"PYTHONPATH": f"{PROBE}:{tmp_path}"}, tmp_path / "log") as pool:
        assert pool.get(PROBES) is None
    assert "2 threads run after importing threaded" in (tmp_path / "log").read_text()


def test_a_gpu_in_use_bars_the_fork(tmp_path, monkeypatch):
    monkeypatch.setattr(warm_process, "GPU", f"{tmp_path}/nvidia")
    assert not warm_process._holds_gpu()
    with (tmp_path / "nvidia0").open("w"):
        assert warm_process._holds_gpu()


def test_branches_have_imported_what_their_root_has_and_more(tmp_path):
    root = Template.start(["wave"], {"PYTHONPATH": str(PROBE)}, tmp_path / "log", without_torch=True)
    assert root.ready()
    branch = root.branch(["chunk"])
    assert branch.ready()
    root_has = "import sys; assert 'wave' in sys.modules; assert sys.modules['torch'] is None; "
    assert run(branch, tmp_path, f"{root_has} assert 'chunk' in sys.modules") == "ok"
    assert run(root, tmp_path, f"{root_has} assert 'chunk' not in sys.modules") == "ok"
    branch.close()
    root.close()


def test_those_that_no_stage_wants_any_more_end(pool):
    pool.get(PROBES)
    pool.keep([PROBES])
    assert len(warm()) == 1
    pool.keep([])
    assert warm() == []


def test_they_end_with_their_builder(tmp_path):
    """Also when it is killed: by the end of their socket."""
    child = os.fork()
    if child == 0:
        Template.start((), {}, tmp_path / "log", without_torch=False).ready()
        os.kill(os.getpid(), signal.SIGSTOP)
    os.waitpid(child, os.WUNTRACED)
    [template] = psutil.Process(child).children()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    template.wait(10)


def test_what_is_imported_ahead_is_there():
    """A module that was renamed is passed over at run time, and only costs time."""
    modules = {module for name in STAGES for module in load_stage(name).preload}
    modules |= {module for backend in BACKENDS.values() if backend.available() is None for module in backend.preload}
    assert [module for module in sorted(modules) if not module.startswith("torch.") and find_spec(module) is None] == []
