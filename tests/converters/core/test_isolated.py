"""Calls in a process of their own: every way in which the other side can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.isolated import Died, Isolated, Raised

HERE = Path(__file__).parent
FUNCTIONS = "isolated_functions"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))


@pytest.fixture
def isolated() -> Iterator[Isolated]:
    with Isolated() as process:
        yield process


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def gone(pid: int) -> bool:
    """Dead, or a zombie that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def call(process: Isolated, name: str, *arguments: object, timeout: float = 30) -> object:
    return process.call(f"{FUNCTIONS}:{name}", *arguments, timeout=timeout)


def test_arguments_and_results_pass_through_one_warm_process(isolated):
    assert call(isolated, "echo", 1, "ä\n", None, {"a": [1.5]}) == [1, "ä\n", None, {"a": [1.5]}]
    first = call(isolated, "process")
    assert first not in (os.getpid(), None)
    assert call(isolated, "process") == first


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [("abort", (), "the tool crashed (SIGABRT)"), ("leave", (7,), "the tool ended its process with status 7")],
)
def test_a_death_is_told_and_the_next_call_starts_anew(isolated, function, arguments, text):
    first = call(isolated, "process")
    with pytest.raises(Died, match=text.replace("(", r"\(").replace(")", r"\)")):
        call(isolated, function, *arguments)
    assert call(isolated, "process") != first


def test_an_endless_loop_is_stopped(isolated):
    pid = call(isolated, "process")
    started = time.monotonic()
    with pytest.raises(Died, match=r"stopped after 0\.5 s"):
        call(isolated, "loop", timeout=0.5)
    assert time.monotonic() - started < 5
    assert gone(pid)
    assert call(isolated, "echo", 1) == [1]


def test_an_exception_is_one_line_and_the_process_stays(isolated):
    first = call(isolated, "process")
    with pytest.raises(Raised, match=r"^ValueError: two lines$"):
        call(isolated, "fail")
    with pytest.raises(Raised, match="TypeError"):
        call(isolated, "unanswerable")
    with pytest.raises(Raised, match="AttributeError"):
        call(isolated, "no_such_function")
    with pytest.raises(Raised, match="ModuleNotFoundError"):
        isolated.call("no_such_module:f", timeout=10)
    assert call(isolated, "process") == first


def test_our_own_errors_come_back_as_they_were_raised(isolated):
    with pytest.raises(UserError, match=r"^give another shape$"):
        call(isolated, "refuse")
    with pytest.raises(ConversionError, match=r"^no loops$") as raised:
        call(isolated, "fail_to_convert")
    assert raised.value.remedy == "unroll it"
    assert [finding.node for finding in raised.value.findings] == ["/loop"]


def test_floods_do_not_block(isolated, tmp_path):
    assert call(isolated, "flood", 20) == 20 * 2**20
    assert len(call(isolated, "long_answer", 5_000_000)) == 5_000_000
    with Isolated(log=tmp_path / "log") as logged:
        call(logged, "flood", 1)
    assert (tmp_path / "log").stat().st_size == 2 * 2**20


def test_a_crash_takes_with_it_what_it_started(isolated, tmp_path):
    """A forked process holds the pipe open: the crash must be noticed all the same, and nothing must stay behind."""
    started = time.monotonic()
    with pytest.raises(Died, match="SIGSEGV"):
        call(isolated, "crash_with_heirs", str(tmp_path / "pids"), timeout=60)
    assert time.monotonic() - started < 20
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        assert eventually(lambda pid=pid: gone(pid))


def test_it_dies_with_its_parent(tmp_path):
    code = (
        "import os, signal\n"
        "from enginesmith.converters.core.isolated import Isolated\n"
        f"print(Isolated().call('{FUNCTIONS}:process', timeout=30), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert eventually(lambda: gone(int(done.stdout)))


def test_after_ctrl_c_no_answer_is_taken_for_another(isolated, monkeypatch):
    call(isolated, "process")

    def interrupt(deadline: float) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(isolated, "_read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            call(isolated, "echo", "first")
    assert call(isolated, "echo", "second") == ["second"]


def test_limits_of_the_child(tmp_path):
    with Isolated(without_torch=True, memory=2**31) as small:
        assert call(small, "has_torch") is False
        with pytest.raises(Died, match=r"used more than 2 GB of memory; give it more with --memory"):
            call(small, "hoard", 4096)
        assert call(small, "hoard", 1) == 2**20


def test_closing_ends_it_and_a_call_starts_it_again():
    with Isolated() as process:
        pid = call(process, "process")
        process.close()
        assert gone(pid)
        assert call(process, "process") != pid
    process.close()
