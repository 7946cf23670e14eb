"""Mutated ONNX files through `doctor`, and through import, check and compile: none may end in a mistake of ours.

    export PYTHONPATH=.
    .venv/bin/python benchmarks/fuzz.py --files 10000                        # doctor, by rules
    .venv/bin/python benchmarks/fuzz.py --files 10000 --through build        # import, check, compile for TVM
    .venv/bin/python benchmarks/fuzz.py --files 300 --trial                  # doctor, with the backends' own trials

The files are made from onnx's node tests and from graphs with control flow, functions and weights beside them, by --seed;
the same seed makes the same files. Counted are internal errors, crashes of a tool (which the command tells as a finding),
files over 60 s or over the memory of the limits, and raw control characters in what is shown. --keep FOLDER keeps every
file that is counted. --one N makes only that file, and shows what is said.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from rich.console import Console

from benchmarks.fuzz_mutants import files
from enginesmith.converters.backends.examination import ASK, EXAMINE, Examination
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.isolated import Died, Isolated, Raised, Stopped
from enginesmith.converters.core.limits import MEMORY
from enginesmith.pipeline.cli.doctor_view import show_examination

SECONDS = 60.0
TARGETS = (("tensorrt", "10.16"), ("tensorrt-rtx", "1.7"), ("tvm", "0.27"))
ASKED = {"tvm": "x86-64-v3"}
HERE = "benchmarks.fuzz"


@dataclass
class Counts:
    """What the files came to; `bad` are those that must not be, with their numbers."""

    files: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[int, str, str]] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, number: int, kind: str, text: str) -> None:
        self.ends[kind] += 1
        self.bad.append((number, kind, text))
        print(f"{number:6} {kind}: {text[:300]!r}", flush=True)


def controls(text: str) -> bool:
    """Are there characters in it that a terminal takes for commands?"""
    return any((ord(letter) < 32 and letter not in "\n\t") or 127 <= ord(letter) < 160 for letter in text)


def run(
    mutants: Sequence[tuple[int, bytes]] | Iterator[tuple[int, bytes]],
    *,
    through: str = "doctor",
    trial: bool = False,
    keep: Path | None = None,
    show: bool = False,
) -> Counts:
    """Drive the files through `doctor` or `build`, in one warm process with the limits of a small file."""
    counts = Counts()
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        Isolated(without_torch=True, memory=MEMORY) as process,
    ):
        path = Path(folder) / "m.onnx"
        for number, content in mutants:
            path.write_bytes(content)
            started, before = time.monotonic(), len(counts.bad)
            try:
                if through == "build":
                    text = str(process.call(f"{HERE}:build", str(path), folder, timeout=SECONDS))
                else:
                    text = _doctor(process, path, trial)
                counts.ends["findings" if "error" in text else "clean"] += 1
            except (UserError, ConversionError) as error:
                text = str(error)
                counts.ends["refused"] += 1
                if through == "doctor":
                    counts.add(number, "internal error", text)
            except Raised as error:
                text = str(error)
                counts.add(number, "internal error", text)
            except Stopped as error:
                text = str(error)
                counts.add(number, "too long", text)
            except Died as error:
                text = str(error)
                counts.add(number, "too much memory" if "memory" in text else "crash", text)
            if controls(text):
                counts.add(number, "control characters", repr(text[:200]))
            counts.files += 1
            counts.slowest = max(counts.slowest, time.monotonic() - started)
            if show:
                print(text)
            if keep is not None and len(counts.bad) > before:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, keep / f"{number}.onnx")
    return counts


def _doctor(process: Isolated, path: Path, trial: bool) -> str:
    """What the command would show."""
    found = Examination.model_validate(process.call(EXAMINE, str(path), TARGETS, MEMORY, timeout=SECONDS))
    if trial and found.nodes:
        for backend, target in ASKED.items():
            process.call(ASK, backend, str(path), target, {}, timeout=SECONDS)
    out = StringIO()
    show_examination(Console(file=out, width=100), found)
    return out.getvalue()


def build(path: str, folder: str) -> str:
    """Import, check and compile, as the stages do; in the child. The result says how far it came."""
    import contextlib

    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.core.files import hash_file
    from enginesmith.converters.core.stage import MODEL, Context
    from enginesmith.converters.stages.import_onnx import ImportOptions, OnnxImport

    def context(name: str) -> Context:
        place = Path(folder) / name
        shutil.rmtree(place, ignore_errors=True)
        for each in ("out", "scratch", "cache"):
            (place / each).mkdir(parents=True)
        return Context(place / "out", place / "scratch", place / "cache", memory=MEMORY)

    imported = context("import")
    options = ImportOptions(path=Path(path), sha256=hash_file(Path(path)), inputs=(), samples=1, seed=0, task="auto")
    with contextlib.redirect_stdout(StringIO()), contextlib.redirect_stderr(StringIO()):
        OnnxImport().run({}, options, imported)
        backend = get_backend("tvm")
        compiled = context("compile")
        request = BuildRequest(onnx=imported.out / MODEL, target=ASKED["tvm"], profile={}, out=compiled.out)
        if any(finding.severity == "error" for finding in backend.check(request, compiled)):
            return "error: refused by its check"
        backend.build(request, compiled)
    return "built"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--through", choices=("doctor", "build"), default="doctor")
    parser.add_argument("--trial", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--one", type=int)
    given = parser.parse_args()
    mutants = files(given.seed, given.files if given.one is None else given.one + 1)
    if given.one is not None:
        mutants = iter([item for item in mutants if item[0] == given.one])
    started = time.monotonic()
    counts = run(mutants, through=given.through, trial=given.trial, keep=given.keep, show=given.one is not None)
    print(
        f"{counts.files} files through {given.through}, seed {given.seed}, {time.monotonic() - started:.0f} s, "
        f"slowest {counts.slowest:.1f} s: " + ", ".join(f"{count} {kind}" for kind, count in counts.ends.most_common())
    )
    return 1 if counts.bad else 0


if __name__ == "__main__":
    sys.exit(main())
