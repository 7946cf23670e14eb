"""`enginesmith doctor`: what backends refuse about an ONNX file, why, what to do, and the repaired file."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enginesmith.compat.findings import Finding
from enginesmith.compat.target import Target
from enginesmith.converters.backends import BACKENDS, get_backend
from enginesmith.converters.backends.examination import (
    ASK,
    EXAMINE,
    FAILED_TRIAL,
    FIX,
    SIZE,
    Examination,
    Examined,
    TargetReport,
    merge,
)
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.isolated import FAILED, Died, Isolated, Stopped
from enginesmith.converters.core.limits import limits_for, size_of
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.records import RepairReport
from enginesmith.pipeline.job.platform import is_platform, shipped
from enginesmith.pipeline.job.shapes import parse_shapes


class _Allowed:
    """What may be used of the machine: as the user said for each call, else a certain amount for the whole file."""

    def __init__(self, path: Path, timeout: float | None, memory: float | None) -> None:
        self._limits = limits_for(size_of(path), timeout, memory)
        self._deadline = time.monotonic() + self._limits.seconds if timeout is None else None

    @property
    def memory(self) -> int:
        """In bytes."""
        return self._limits.memory

    def process(self) -> Isolated:
        start: dict[str, Any] = {} if self._deadline is None else {"start": 0.0}
        return Isolated(without_torch=True, memory=self._limits.memory, **start)

    def call(self, process: Isolated, function: str, *arguments: Any) -> Any:
        """Raises as `Isolated.call` does."""
        seconds = self._limits.seconds
        if self._deadline is not None:
            seconds = self._deadline - time.monotonic()
        try:
            return process.call(function, *arguments, timeout=max(seconds, 0.1))
        except Stopped:
            raise Died(f"stopped after {self._limits.seconds:.0f} s; give it more with --timeout SECONDS") from None


@dataclass(frozen=True)
class Wanted:
    """A backend and version to look at; `target` is what to build for where it can be asked, else empty."""

    backend: str
    version: str
    target: str
    reason: str
    """Why it can't be asked; empty where it can."""
    gpu: str = ""
    """The compute capability that was named, such as `sm_89`."""


def wanted(text: str) -> list[Wanted]:
    """Read `tensorrt=8.6,tensorrt-rtx,tvm`. Empty: every backend, at the installed version or the newest one known.

    A GPU may follow, as in `tensorrt=10.16@sm_120`: what is known of others is then left out.
    `jetpack=6.1` and the like, of `compat.platforms`, stand for the TensorRT that they ship.

    Raises UserError for a backend, version or GPU that nothing is known of.
    """
    from enginesmith.compat import platforms, support

    words = [word.strip() for word in text.split(",") if word.strip()] or list(BACKENDS)
    found = []
    for word in words:
        asked_for, at, gpu = word.partition("@")
        name, given, version = asked_for.partition("=")
        ships = ""
        if is_platform(name):
            there = shipped(name, version, ". Or give the version itself, such as tensorrt=10.3")
            ships = f" (which {there.name} ships)"
            name, version = "tensorrt", there.release.tensorrt
        if name not in BACKENDS:
            raise unknown("backend", name, [*BACKENDS, *platforms.platforms()])
        backend = get_backend(name)
        gpu = _capability(word, gpu, backend.gpu) if at else ""
        installed = backend.version()
        known = support.versions(backend.table) if backend.table else [installed]
        if given and not _numeric(version):
            raise UserError(f"{word}: give a version such as {name}={known[-1]}")
        asked = version or installed or known[-1]
        if version and not (installed and Target(name, installed).within(f"=={version}")):
            if not backend.table:
                raise UserError(f"{word}: {name} {installed} is installed, and of other versions nothing is on record")
            reason = f"{name} {version}{ships} is not installed" + (f" ({installed} is)" if installed else "")
        else:
            reason = backend.available() or ""
        target = "" if reason else backend.resolve_target(gpu or "auto")
        found.append(Wanted(name, installed if not reason else asked, target, reason, gpu))
    return list(dict.fromkeys(found))


def _capability(word: str, gpu: str, on_gpu: bool) -> str:
    """`sm_89` for any of `sm_89`, `sm89`, `8.9`."""
    match = re.fullmatch(r"(?:sm_?)?([0-9]{1,2})\.?([0-9])", gpu.strip().lower())
    if match is None or not on_gpu:
        way = "give a compute capability, such as tensorrt=10.3@sm_89" if on_gpu else "it runs on no GPU; leave @ out"
        raise UserError(f"{word}: {way}")
    return f"sm_{match[1]}{match[2]}"


def _numeric(version: str) -> bool:
    return re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}", version) is not None


def examine(
    path: Path,
    wanted: Sequence[Wanted],
    shape: str | None,
    *,
    trial: bool,
    timeout: float | None = None,
    memory: float | None = None,
) -> Examination:
    """The rules' findings, held against what the backends that are here say themselves.

    Raises UserError when the file can't be read.
    """
    _readable(path)
    targets = [(one.backend, one.version, one.gpu) for one in wanted]
    allowed = _Allowed(path, timeout, memory)
    try:
        with _sized(path, shape, allowed) as (sized, given):
            with allowed.process() as process:
                found = allowed.call(process, EXAMINE, str(sized), targets, allowed.memory)
            examination = Examination.model_validate({**found, "path": str(path)})
            for one, report in zip(wanted, examination.targets, strict=False):
                if one.reason:
                    report.trial = f"not run: {one.reason}"
                elif not trial:
                    report.trial = "not run: not asked for"
                else:
                    _ask(one, sized, given, allowed, report)
            return examination
    except FAILED as error:
        return Examination(path=str(path), problems=[_fatal(str(error))])


def fix(
    path: Path,
    out: Path,
    wanted: Sequence[Wanted],
    shape: str | None,
    inputs: Path | None,
    *,
    trial: bool = True,
    timeout: float | None = None,
    memory: float | None = None,
) -> list[RepairReport]:
    """Repair the file for one target after the other; `out` holds the end result, if anything was repaired."""
    import onnx_ir as ir

    from enginesmith.compat.saving import save

    check_files(path, out, inputs)
    reports = []
    allowed = _Allowed(path, timeout, memory)
    with (
        _sized(path, shape, allowed) as (sized, given),
        tempfile.TemporaryDirectory(dir=out.parent) as scratch,
    ):
        current = sized
        for number, one in enumerate(wanted):
            repaired = Path(scratch) / f"{number}.onnx"
            with allowed.process() as process:
                try:
                    report = RepairReport.model_validate(
                        allowed.call(
                            process,
                            FIX,
                            one.backend,
                            one.version,
                            str(current),
                            str(repaired),
                            one.target if trial else "",
                            given,
                            str(inputs or ""),
                        )
                    )
                except FAILED as error:
                    report = RepairReport(left=[_fatal(str(error), one.backend, one.version)])
            reports.append(report)
            if repaired.exists():
                current = repaired
        if current != sized:
            save(ir.load(current), out)
    return reports


def check_files(path: Path, out: Path, inputs: Path | None) -> None:
    """Raises UserError where `fix` can't read or write what it is given."""
    _readable(path)
    if inputs is not None:
        _readable(inputs)
    if out.resolve() == path.resolve():
        raise UserError(f"--fix {out} would overwrite the model; give another file")
    if not out.parent.is_dir():
        raise UserError(f"no folder {out.parent} to write {out.name} into")
    if out.exists() and not out.is_file():
        raise UserError(f"--fix {out} is no file that a graph can be written into; give another one")


def _ask(one: Wanted, path: Path, given: Mapping[str, Any], allowed: _Allowed, report: TargetReport) -> None:
    """Put the backend's own findings into the report, or why there are none."""
    with allowed.process() as process:
        try:
            found = allowed.call(process, ASK, one.backend, str(path), one.target, given)
        except FAILED as error:
            report.trial = f"{FAILED_TRIAL}{error}"
            remedy = SMALLER if isinstance(error, Died) else ELSEWHERE
            failure = _fatal(f"the trial failed: {error}", one.backend, one.version, remedy)
            report.findings.append(Examined(finding=failure, verdict="failed"))
        except UserError as error:
            if given:  # the shapes don't fit the model
                raise
            report.trial = f"not run: {error}"
        else:
            merge(report, [Finding.model_validate(finding) for finding in found])


SMALLER = "enginesmith bisect finds the smallest part of the model that does it"
ELSEWHERE = "`enginesmith env` says what is here; where the backend takes other models, please report it"
"""What to do about a trial that ended without an answer: where it died, and where it raised something."""


def _fatal(reason: str, backend: str = "", version: str = "", remedy: str = SMALLER) -> Finding:
    return Finding(
        severity="error",
        op="",
        node="",
        backend=backend,
        versions=version,
        message=reason,
        remedy=remedy,
    )


@contextmanager
def _sized(path: Path, shape: str | None, allowed: _Allowed) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The file with the sizes that `shape` fixes written into it, as in a build, with the profile and the values; the file itself
    where there is nothing to write, or to read. Raises UserError where they don't fit.
    """
    if not shape:
        yield path, {}
        return
    specs = [spec.model_dump() for spec in parse_shapes(shape)]
    with tempfile.TemporaryDirectory() as folder:
        sized = Path(folder) / path.name
        with allowed.process() as process:
            given = allowed.call(process, SIZE, str(path), str(sized), specs, allowed.memory)
        yield sized if sized.exists() else path, given or {}


def _readable(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the .onnx file in it")
    if not path.is_file():
        raise UserError(f"no file {path}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
