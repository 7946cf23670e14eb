"""Workers: whatever becomes of one, the builder goes on with a line that says what happened."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from running import PROBE

from enginesmith.pipeline.job import process
from enginesmith.pipeline.job.events import Event
from enginesmith.pipeline.job.process import Ended, Limits, run_worker
from enginesmith.pipeline.job.templates import Template


@dataclass
class Workers:
    """Runs probes, each in a folder of its own."""

    folder: Path
    template: Template | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "log"

    def run(
        self,
        code: str,
        listen=None,
        timeout: float = 60,
        memory: int = 2**40,
        stage: str = "probe",
        **environment: str,
    ) -> Ended:
        place = self.folder / f"work{len(list(self.folder.iterdir()))}"
        place.mkdir()
        return run_worker(
            stage,
            {"code": code},
            {},
            place,
            self.folder,
            self.log,
            Limits(timeout, memory),
            {"PYTHONPATH": str(PROBE), **environment},
            listen or self.events.append,
            interruptible=stage == "patient",
            template=self.template,
        )


@pytest.fixture(params=["fresh", "forked"])
def workers(tmp_path, tmp_path_factory, request):
    if request.param == "fresh":
        yield Workers(tmp_path)
        return
    log = tmp_path_factory.mktemp("templates") / "log"
    template = Template.start((), {"PYTHONPATH": str(PROBE)}, log, without_torch=False)
    assert template.ready()
    yield Workers(tmp_path, template)
    assert (template.lost, log.read_text()) == (False, "")
    template.close()


def test_a_worker_that_works(workers):
    ended = workers.run("print('hello'); context.warn('careful'); (context.out / 'a').write_text('x')")
    assert (ended.result.outcome, ended.result.facts.note) == ("ok", "done")
    assert (next(workers.folder.glob("work*")) / "out" / "a").read_text() == "x"
    assert [(event.event, event.text) for event in workers.events if event.event != "log"] == [("warning", "careful")]
    assert ended.seconds > 0


def test_its_last_words_are_heard_whenever_it_ends(workers, monkeypatch):
    """Also when it speaks and ends between a look at its pipe and one at its process."""
    ended = process._ended

    def late(worker: subprocess.Popen[bytes]) -> bool:
        worker.wait()
        return ended(worker)

    monkeypatch.setattr(process, "_ended", late)
    workers.run("import time; time.sleep(0.8); context.progress('bye')")
    assert [event.text for event in workers.events] == ["bye"]


def test_the_log_keeps_all_output_and_is_shown_as_it_comes(workers):
    code = """
import os, sys, subprocess, time
print("from python"); print("and\\ttabs", file=sys.stderr); os.write(1, b"from C \\xff\\n")
subprocess.run(["echo", "from a child"])
time.sleep(0.6)
context.progress("later")
print("the end", end="")
"""
    workers.run(code)
    assert workers.log.read_bytes() == b"from python\nand\ttabs\nfrom C \xff\nfrom a child\nthe end"
    told = [event.text for event in workers.events]
    assert told == ["from python", "and\ttabs", "from C �", "from a child", "later", "the end"]


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("import ctypes; print('reading 0', flush=True); ctypes.string_at(0)", "crashed (SIGSEGV)", "see the log"),
        ("import os; print('aborting'); os.abort()", "crashed (SIGABRT)", "see the log"),
        ("import os, signal; print('x'); os.kill(os.getpid(), signal.SIGKILL)", "crashed (SIGKILL)", "memory runs out"),
    ],
)
def test_a_crash_is_a_diagnosis(workers, code, message, remedy):
    result = workers.run(code).result
    assert result.outcome == "conversion error"
    assert message in result.message
    assert "its last line: " in result.message
    assert remedy in result.remedy


def test_a_worker_killed_from_outside(workers):
    def kill(event: Event) -> None:
        if event.event == "progress":
            os.kill(int(event.text), signal.SIGKILL)

    result = workers.run("import os, time; context.progress(str(os.getpid())); time.sleep(60)", kill).result
    assert (result.outcome, "SIGKILL" in result.message) == ("conversion error", True)


def test_our_own_bugs_are_told_apart(workers):
    result = workers.run("{}['key']").result
    assert (result.outcome, result.message) == ("bug", "KeyError: 'key'")
    assert "Traceback" in workers.log.read_text()
    result = workers.run("import ctypes; print('bye'); ctypes.CDLL(None)._exit(7)").result
    assert (result.outcome, result.message) == (
        "bug",
        "the worker ended with status 7 and no answer; its last line: bye",
    )


@pytest.mark.parametrize("code", ["import os; os._exit(0)", "raise SystemExit(0)", "raise KeyboardInterrupt"])
def test_a_models_code_can_not_end_its_process_unseen(workers, code):
    result = workers.run(code).result
    assert (result.outcome, "ended its process" in result.message) == ("conversion error", True)


def test_what_it_forks_ends_as_it_likes(workers):
    code = "import os\nif not (child := os.fork()): os._exit(3)\nassert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3"
    assert workers.run(code).result.outcome == "ok"


def test_the_two_expected_errors(workers):
    header = "from enginesmith.converters.core.errors import *; "
    result = workers.run(header + "raise UserError('give\\n another')").result
    assert (result.outcome, result.message) == ("user error", "give another")
    result = workers.run(header + "raise ConversionError('it failed', 'try that')").result
    assert (result.outcome, result.message, result.remedy) == ("conversion error", "it failed", "try that")


def test_an_answer_that_cannot_be_read(workers):
    result = workers.run(
        "import ctypes; context.out.with_name('result.json').write_text('{'); ctypes.CDLL(None)._exit(0)"
    ).result
    assert result.outcome == "bug"
    assert "answer can't be read" in result.message


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(60)",
        "import time\nwhile True: context.progress('busy'); time.sleep(0.001)",
        "import os, time; os.closerange(3, 64); time.sleep(60)",
    ],
    ids=["silent", "talking", "without its pipe"],
)
def test_too_slow(workers, code):
    started = time.monotonic()
    result = workers.run(code, timeout=1.5).result
    assert (result.outcome, result.message) == ("conversion error", "stopped after 1.5 s")
    assert "--timeout" in result.remedy
    assert time.monotonic() - started < 40


def test_too_much_memory(workers):
    ended = workers.run("import time; x = b'x' * 2**29; time.sleep(60)", memory=2**28)
    assert (ended.result.outcome, "0.25 GB of memory" in ended.result.message) == ("conversion error", True)
    assert "--memory" in ended.result.remedy
    assert ended.peak_memory > 2**28


def test_the_memory_of_its_children_counts(workers):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; x = b\"x\" * 2**29; time.sleep(60)'])"
    assert "of memory" in workers.run(child, memory=2**28).result.message


def test_peak_memory_is_recorded_also_between_two_looks(workers):
    small = workers.run("pass").peak_memory
    large = workers.run("x = b'x' * 300_000_000; del x").peak_memory
    assert 2**23 < small < 2**28
    assert 280_000_000 < large - small < 350_000_000


def test_garbage_among_the_events_is_passed_over(workers):
    code = """
import os
descriptors = sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))  # any number
fd = next(fd for fd in descriptors if fd > 2 and "pipe" in os.readlink(f"/proc/self/fd/{fd}"))
context.progress("before")
for garbage in (b"\\xff\\x00\\n", b"{\\n", b"[]\\n", b'{"event": "explode"}\\n', b'{"event": "built"}\\n', b"\\n", b"x" * 100000 + b"\\n"):
    os.write(fd, garbage)
context.progress("after")
os.write(fd, b"half a line")
"""
    assert workers.run(code).result.outcome == "ok"
    assert [(event.event, event.text) for event in workers.events] == [("progress", "before"), ("progress", "after")]


def test_what_a_worker_started_goes_with_it(workers):
    code = "import subprocess; print(subprocess.Popen(['sleep', '77']).pid, flush=True)"
    for end in ("", "; import os; os.abort()", "; import time; time.sleep(60)"):
        workers.run(code + end, timeout=1.5)
        pid = int(workers.log.read_text().split()[0])
        deadline = time.monotonic() + 5
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_files_in_the_users_folder_do_not_shadow_modules(workers, tmp_path, monkeypatch):
    """Neither in the worker nor in the Pythons that it starts."""
    (tmp_path / "colorsys.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    code = "import colorsys, subprocess, sys; subprocess.run([sys.executable, '-c', 'import colorsys'], check=True)"
    assert workers.run(code).result.outcome == "ok"


def test_the_builders_own_descriptors_stay_closed(workers, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        workers.run("pass")
    assert len(os.listdir("/proc/self/fd")) == before


def pressing_ctrl_c(on: str):
    """A listener that does it once the worker says `on`."""
    heard = []

    def listen(event: Event) -> None:
        heard.append(event)
        if event.text == on:
            os.kill(os.getpid(), signal.SIGINT)

    return heard, listen


@pytest.fixture
def ctrl_c():
    """Whoever starts the tests in the background may have SIGINT ignored, which is inherited."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_asks_a_patient_stage_for_the_best_so_far(workers):
    heard, listen = pressing_ctrl_c("searching")
    code = """
import time
context.progress("searching")
while not context.stopped():
    time.sleep(0.05)
(context.out / "best").write_text("so far")
"""
    ended = workers.run(code, listen, stage="patient")
    assert ended.result.outcome == "ok"
    assert (next(workers.folder.glob("work*")) / "out" / "best").read_text() == "so far"
    assert "stopping with the best so far; Ctrl-C again gives it up" in [event.text for event in heard]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_ends_it(workers):
    _, listen = pressing_ctrl_c("searching")
    code = """
import time
context.progress("searching")
while not context.stopped():
    time.sleep(0.05)
context.progress("searching")
time.sleep(60)
"""
    with pytest.raises(KeyboardInterrupt):
        workers.run(code, listen, stage="patient")
