"""Asks whether candidates fail as the whole model does: each one in a process of its own, within a time limit."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pydantic import BaseModel

from enginesmith.converters.bisect import facts, files
from enginesmith.converters.bisect.conditions import Condition
from enginesmith.converters.bisect.oracles import Standard
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.isolated import FAILED, Died, Isolated, Raised

EXAMINE = "enginesmith.converters.bisect.oracles:examine"
STANDARD = "enginesmith.converters.bisect.oracles:standard_of"
DIFFERS, INCONSISTENT, DIED, COMMAND = "differs", "inconsistent", "died", "command"
"""Steps of failures whose text is ours."""
MOST: Mapping[str, Standard] = {"check": "nothing", "load": "inferred"}
"""The highest standard that a model which fails by such a condition can meet; `loads` for all others."""
UNTESTABLE = 125
"""Exit status of a command that can't judge a candidate, as in `git bisect run`."""


class OutOfTime(Exception):
    """The time for the whole search is over."""


class Failure(BaseModel, frozen=True):
    """How a model failed: the step or the kind of error, and what the tool said."""

    step: str
    message: str
    node: str = ""
    op: str = ""

    @property
    def signature(self) -> str:
        """What is the same for the same failure of a smaller model: the text without names, numbers and shapes.

        A failed comparison is the same whichever output differs, by whatever amount, and whichever answers contradict each
        other.
        """
        if self.step in (DIFFERS, INCONSISTENT):
            return self.step
        if self.step in (DIED, COMMAND):
            return f"{self.step} {self.message}"
        text = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\{[^{}]*\}|<[^<>]*>", "#", self.message.lower())
        words = ["#" if re.search(r"[\d/_#]|::", word) else word for word in re.split(r"[\s,;()\[\]]+", text)]
        text = re.sub(r"#[\s#]*", "# ", " ".join(words))
        return f"{self.step} {self.op} {text}".strip()


class Judge:
    """Decides about candidates. `tests` counts the questions that were asked, those answered from memory left out."""

    def __init__(
        self,
        condition: Condition,
        folder: Path,
        *,
        profile: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        seconds: float = float("inf"),
        any_failure: bool = False,
        memory: int = 0,
        tested: Callable[[], None] = lambda: None,
    ) -> None:
        """`folder` is for candidates. `timeout`: seconds for one test, `seconds` for all; `memory`: bytes that one may use, 0 for
        any amount. `tested` is called after each test. `profile` as in BuildRequest."""
        self.condition = condition
        self.folder = folder
        self.profile = dict(profile or {})
        self.timeout = timeout
        self.deadline = time.monotonic() + seconds
        self.any_failure = any_failure
        self.tested = tested
        self.tests = 0
        self.failure: Failure | None = None
        self.standard: Standard = "nothing"
        self._answers: dict[str, bool] = {}
        self._isolated = Isolated(without_torch=True, memory=memory)

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *error: object) -> None:
        self._isolated.close()

    def first(self, path: Path) -> Failure | None:
        """Test the whole model, and remember how it fails: candidates have to fail alike.

        Raises UserError where the condition can't be asked.
        """
        self.failure = self._ask(path.resolve(), "nothing", first=True)
        return self.failure

    def settle(self, model: ir.Model) -> bool:
        """Annotate the model as it was read, in place; whether it still fails like the file. From then on candidates
        have to be as sound as it is, as far as the failure itself lets them."""
        self.annotate(model)
        path = self.folder / "candidate.onnx"
        files.write(model, path)
        self.standard = self._standard(path, MOST.get(self.condition.kind, "loads"))
        return self._same(self._ask(path, "nothing"))

    def fails(self, model: ir.Model, *, must_run: bool = False) -> bool:
        """Whether the candidate fails like the whole model, and is as sound as that; with `must_run` it must also run
        in ONNX Runtime. Raises OutOfTime."""
        if time.monotonic() >= self.deadline:
            raise OutOfTime
        path = self.folder / "candidate.onnx"
        try:
            key = f"{files.write(model, path)} {must_run}"
        except (TypeError, ValueError):  # onnx_ir can't write it: no model
            return False
        if key not in self._answers:
            standard: Standard = "runs" if must_run else self.standard
            self._answers[key] = self._same(self._ask(path, standard))
            self.tests += 1
            self.tested()
        return self._answers[key]

    def confirms(self, path: Path) -> bool:
        """Whether a file fails like the whole model, asked anew and in a fresh process."""
        self._isolated.close()
        return self._same(self._ask(path.resolve(), "nothing"))

    def runs(self, model: ir.Model) -> bool:
        """Whether ONNX Runtime runs the model on made-up inputs."""
        path = self.folder / "candidate.onnx"
        files.write(model, path)
        return self._standard(path, "runs") == "runs"

    def annotate(self, model: ir.Model) -> None:
        """Find out the types, shapes and values of a model's tensors, in place."""
        facts.annotate(model, self._isolated, self.folder, self._limit())

    def _same(self, failure: Failure | None) -> bool:
        if failure is None:
            return False
        return self.any_failure or self.failure is None or failure.signature == self.failure.signature

    def _standard(self, path: Path, most: Standard) -> Standard:
        try:
            reached: Standard = self._isolated.call(STANDARD, str(path), most, timeout=self._limit())
        except FAILED:
            return "nothing"
        return reached

    def _limit(self) -> float:
        return max(min(self.timeout, self.deadline - time.monotonic()), 0.1)

    def _ask(self, path: Path, standard: Standard, first: bool = False) -> Failure | None:
        limit = self._limit()
        if self.condition.kind == "command":
            return self._run_command(path, standard, limit)
        try:
            answer = self._isolated.call(
                EXAMINE, str(path), self.condition.model_dump(), standard, self.profile, timeout=limit
            )
        except Died as death:
            self._out_of_time(limit)
            return Failure(step=DIED, message=str(death))
        except UserError:
            if first:
                raise
            return None
        except (Raised, ConversionError) as error:
            return Failure(step="raised", message=str(error))
        return None if answer is None else Failure.model_validate(answer)

    def _run_command(self, path: Path, standard: Standard, limit: float) -> Failure | None:
        if standard != "nothing" and self._standard(path, standard) != standard:
            return None
        words = [word.replace("{}", str(path)) for word in shlex.split(self.condition.command)]
        status = _exit_status(words, limit)
        if status is None:
            self._out_of_time(limit)
            return Failure(step=DIED, message="the command was stopped after its time")
        if status in (0, UNTESTABLE):
            return None
        if status < 0:
            return Failure(step=DIED, message=f"the command crashed ({signal.Signals(-status).name})")
        return Failure(step=COMMAND, message=f"exit status {status}")

    def _out_of_time(self, limit: float) -> None:
        """A test that the end of the search cut short says nothing."""
        if limit < self.timeout and time.monotonic() >= self.deadline:
            raise OutOfTime


def _exit_status(words: Sequence[str], timeout: float) -> int | None:
    """A command's exit status; None where it took too long and was killed, with all that it had started."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"can't run the command {words[0]!r}: {error.strerror}") from None
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
