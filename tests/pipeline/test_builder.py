"""The builder, with stages that do what a test tells them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from probe_stage import ProbeOptions
from running import PROBE, Probes

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.source import Source
from enginesmith.converters.stages.registry import STAGES
from enginesmith.pipeline.job.builder import Builder, worker_environment
from enginesmith.pipeline.job.plan import Plan, PlannedStage
from enginesmith.pipeline.job.store import Store


def statuses(build):
    return {record.id: record.status for record in build.records}


@pytest.mark.parametrize("theirs", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_how_threads_wait_is_the_users_where_they_say_it(monkeypatch, theirs):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    recipe = Recipe(model="probe", threads=3)
    assert worker_environment(recipe) == {"OMP_NUM_THREADS": "3", "TVM_NUM_THREADS": "3", "GOMP_SPINCOUNT": "1000"}
    monkeypatch.setenv(theirs, "0")
    assert "GOMP_SPINCOUNT" not in worker_environment(recipe)


MAKE = "(context.out / 'file').write_text('1')"
PASS_ON = "(context.out / 'file').write_bytes((inputs['before'] / 'file').read_bytes() + b'2')"
FAIL = "from enginesmith.converters.core.errors import ConversionError; raise ConversionError('broken', 'mend it')"


def test_stages_take_the_products_of_those_before(probes):
    build = probes.build(a=MAKE, b=PASS_ON, c=PASS_ON)
    assert build.success
    assert (probes.store.files(build.entries["c"].key) / "file").read_text() == "122"
    told = [(event.event, event.stage) for event in probes.events if event.event != "log"]
    assert told == [("start", "a"), ("built", "a"), ("start", "b"), ("built", "b"), ("start", "c"), ("built", "c")]


def test_what_is_built_is_taken_from_the_store(probes):
    first = probes.build(a=MAKE, b=PASS_ON)
    again = probes.build(a=MAKE, b=PASS_ON)
    assert statuses(again) == {"a": "cached", "b": "cached"}
    assert again.entries == first.entries
    assert [record.seconds for record in again.records] == [record.seconds for record in first.records]


def test_another_way_to_the_same_content_spares_the_rest(probes):
    probes.build(a=MAKE, b=PASS_ON)
    assert statuses(probes.build(a=MAKE + " # edited", b=PASS_ON)) == {"a": "built", "b": "cached"}


@pytest.mark.parametrize("file", ["file", "../entry.json"])
def test_a_damaged_artifact_is_built_again(probes, file):
    first = probes.build(a=MAKE, b=PASS_ON)
    (probes.store.files(first.entries["a"].key) / file).write_text("9")
    again = probes.build(a=MAKE, b=PASS_ON)
    assert statuses(again) == {"a": "built", "b": "cached"}
    assert again.success
    assert probes.store.verify() == []


def test_a_failure_skips_what_needs_it(probes):
    build = probes.build(a=MAKE, b=FAIL, c=PASS_ON)
    assert statuses(build) == {"a": "built", "b": "failed", "c": "skipped"}
    assert not build.success
    b, c = build.records[1:]
    assert (b.error, b.remedy, c.error) == ("broken", "mend it", "needs b, which failed")
    assert statuses(probes.build(a=MAKE, b=FAIL, c=PASS_ON))["b"] == "failed", "a failure is not kept"


def test_a_crash_a_time_out_and_a_bug_are_records(probes):
    probes.recipe = Recipe(model="probe", timeout=1.5)
    crashed = probes.build(a="import os; os.abort()").records[0]
    assert (crashed.status, "SIGABRT" in crashed.error) == ("failed", True)
    assert Path(crashed.log).is_file()
    assert "stopped after 1.5 s" in probes.build(a="import time; time.sleep(60)").records[0].error
    build = probes.build(a="1 / 0")
    assert build.bugs == ["a: bug: ZeroDivisionError: division by zero"]
    assert probes.store.verify() == []


def test_a_bad_request_ends_the_build(probes):
    with pytest.raises(UserError, match=r"^give another$"):
        probes.build(
            a=MAKE, b="from enginesmith.converters.core.errors import UserError; raise UserError('give another')"
        )
    assert statuses(probes.build(a=MAKE)) == {"a": "cached"}
    assert list((probes.store.root / "tmp").iterdir()) == []


def test_users_sources_are_watched(probes, tmp_path):
    source = tmp_path / "model.py"
    code = f"""
import probe_stage, hashlib
from pathlib import Path
facts = probe_stage.Facts
probe_stage.Facts = lambda **more: facts(
    source_files={{"{source}": hashlib.sha256(Path("{source}").read_bytes()).hexdigest()}}, **more)
"""
    source.write_text("1")
    assert statuses(probes.build(a=code)) == {"a": "built"}
    assert statuses(probes.build(a=code)) == {"a": "cached"}
    source.write_text("2")
    assert statuses(probes.build(a=code)) == {"a": "built"}


def test_a_log_that_is_gone_is_not_pointed_at(probes, tmp_path):
    probes.build(a=MAKE)
    assert Path(probes.build(a=MAKE).records[0].log).is_file()
    probes.folder = tmp_path / "elsewhere"
    (tmp_path / "logs").rename(tmp_path / "moved")
    assert probes.build(a=MAKE).records[0].log == ""


BIG = "(context.out / 'big').write_bytes(bytes(4_000_000))"


@pytest.mark.parametrize(
    "code",
    [
        BIG,
        f"try:\n  {BIG}\nexcept OSError:\n  raise RuntimeError('a tool that says nothing of disks') from None",
        f"import os\ntry:\n  {BIG}\nexcept OSError:\n  os.abort()",
    ],
    ids=["told", "untold", "crashed"],
)
def test_a_full_disk(probes, small_disk, code):
    disk = small_disk("2m")
    probes.store = Store(disk)
    build = probes.build(a=MAKE, b=code)
    assert statuses(build) == {"a": "built", "b": "failed"}
    assert build.bugs == []
    assert f"no space left on the disk of {disk}" in build.records[1].error
    assert "cache gc" in build.records[1].remedy
    assert probes.store.verify() == []
    assert statuses(probes.build(a=MAKE, b=PASS_ON)) == {"a": "cached", "b": "built"}


def fill(path: Path) -> None:
    """Take all that the disk has."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_that_is_full_before_the_worker_starts(probes, small_disk):
    disk = small_disk("2m")
    probes.store = Store(disk)
    probes.build(a=MAKE)
    filler = disk / "filler"
    fill(filler)
    build = probes.build(a=MAKE, b=PASS_ON)
    assert statuses(build) == {"a": "cached", "b": "failed"}
    assert "no space left on the disk" in build.records[1].error
    filler.unlink()
    assert probes.store.verify() == []
    assert statuses(probes.build(a=MAKE, b=PASS_ON)) == {"a": "cached", "b": "built"}


SCRIPT = f"""
import sys
from pathlib import Path
sys.path[:0] = {[str(PROBE), str(PROBE.parent)]!r}
import sitecustomize, json
from running import Probes
from enginesmith.pipeline.job.store import Store
folder = Path(sys.argv[1])
build = Probes(Store(folder / "store"), folder).build(**json.loads(sys.argv[2]))
print(json.dumps({{record.id: record.status for record in build.records}}))
"""


def start(folder: Path, **codes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), json.dumps(codes)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROBE)},
    )


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.is_file() and path.read_text():
            return path.read_text()
        time.sleep(0.01)
    pytest.fail(f"{path} did not come")


def test_a_killed_builder_takes_its_worker_along_and_the_next_run_goes_on(tmp_path):
    mark = tmp_path / "pid"
    hang = f"import os, time; open('{mark}', 'w').write(str(os.getpid())); time.sleep(60 if not os.path.exists('{mark}2') else 0)"
    with start(tmp_path, a=MAKE, b=hang) as process:
        worker = psutil.Process(int(wait_for(mark)))
        process.kill()
        worker.wait(10)
    (tmp_path / "pid2").touch()
    store = Store(tmp_path / "store")
    assert store.verify() == []
    with start(tmp_path, a=MAKE, b=hang) as process:
        out, _ = process.communicate(timeout=60)
    assert json.loads(out) == {"a": "cached", "b": "built"}
    assert list((store.root / "tmp").iterdir()) == []


def test_a_second_builder_waits_and_takes_what_the_first_made(probes, tmp_path):
    mark = tmp_path / "pid"
    slow = f"import os, time; open('{mark}', 'a').write('x'); time.sleep(2)"
    with start(tmp_path, a=slow) as first:
        wait_for(mark)
        second = Probes(Store(tmp_path / "store"), tmp_path / "second")
        build = second.build(a=slow)
        out, _ = first.communicate(timeout=60)
    assert json.loads(out) == {"a": "built"}
    assert statuses(build) == {"a": "cached"}
    assert [event.event for event in second.events] == ["start", "waiting", "cached"]
    assert mark.read_text() == "x"


def test_a_second_builder_goes_on_when_the_first_is_killed(probes, tmp_path):
    mark = tmp_path / "pid"
    code = f"import os, time; open('{mark}', 'a').write('x'); time.sleep(60 if open('{mark}').read() == 'x' else 0)"
    with start(tmp_path, a=code) as first:
        wait_for(mark)
        probes.events = _Listener(lambda event: event.event == "waiting" and first.send_signal(signal.SIGKILL))
        assert statuses(probes.build(a=code)) == {"a": "built"}
    assert mark.read_text() == "xx"


class _Listener(list):
    """Events, with something done at each."""

    def __init__(self, act) -> None:
        super().__init__()
        self._act = act

    def append(self, event) -> None:
        super().append(event)
        self._act(event)


def test_a_stage_that_was_ended_early_goes_on_in_the_next_run(probes, monkeypatch):
    monkeypatch.setitem(STAGES, "patient", "probe_stage:Patient")
    flag = probes.folder / "interrupt"
    flag.touch()
    code = f"import os, signal\nif os.path.exists({str(flag)!r}): os.kill(os.getpid(), signal.SIGINT)"
    stage = PlannedStage("patient", "patient", ProbeOptions(code=code))
    plan = Plan(Source(kind="onnx", ref="", name="probe"), (stage,), "patient")

    def run() -> str:
        environment = {"PYTHONPATH": str(PROBE)}
        build = Builder(probes.store, probes.recipe, probes.folder / "logs", probes.events.append, environment).run(
            plan
        )
        return build.records[0].status

    assert (run(), run()) == ("built", "built")
    flag.unlink()
    assert (run(), run()) == ("built", "cached")


def test_ctrl_c_while_the_builder_has_something_to_tell(probes, monkeypatch):
    """What it tells then comes in the middle of what it was telling."""
    monkeypatch.setitem(STAGES, "patient", "probe_stage:Patient")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    probes.events = _Listener(lambda event: event.text == "searching" and os.kill(os.getpid(), signal.SIGINT))
    code = "import time\ncontext.progress('searching')\nwhile not context.stopped(): time.sleep(0.05)"
    try:
        build = probes.run(PlannedStage("patient", "patient", ProbeOptions(code=code)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert statuses(build) == {"patient": "built"}
    assert "warning" in [event.event for event in probes.events]
