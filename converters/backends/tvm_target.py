"""Names of CPU targets for TVM, and what this machine is, without importing TVM."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from enginesmith.converters.backends.names import unknown
from enginesmith.converters.errors import UserError

# What each x86-64 level adds to the one before it, as /proc/cpuinfo names it.
# Source: x86-64 psABI, "Micro-Architecture Levels".
_LEVELS = {
    "x86-64": frozenset({"sse2"}),
    "x86-64-v2": frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    "x86-64-v3": frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
_X86 = "x86_64-linux-gnu"
TRIPLES = (_X86, "aarch64-linux-gnu", "arm-linux-gnueabihf", "riscv64-linux-gnu")
"""Triples that we can link a shared library for, given a compiler of that name."""


@dataclass(frozen=True)
class CpuTarget:
    """An LLVM triple and the processor in it, `generic` code where `mcpu` is empty."""

    triple: str
    mcpu: str

    @property
    def name(self) -> str:
        """Canonical: a level alone (`x86-64-v3`), a triple alone, or `triple:mcpu`."""
        if self.triple == _X86 and self.mcpu in _LEVELS:
            return self.mcpu
        return f"{self.triple}:{self.mcpu}" if self.mcpu else self.triple

    @property
    def arch(self) -> str:
        return self.triple.partition("-")[0]

    def config(self) -> dict[str, str]:
        """What `tvm.target.Target` takes."""
        target = {"kind": "llvm", "mtriple": self.triple}
        return target | {"mcpu": self.mcpu} if self.mcpu else target

    def linker(self) -> str:
        """The C++ compiler that links for this triple, empty when this machine has none."""
        names = ("c++", "g++", "clang++") if self.arch == platform.machine() else (f"{self.triple}-g++",)
        return next((path for path in map(shutil.which, names) if path), "")


def parse(name: str) -> CpuTarget:
    """The target called `name`: `auto` and `native` are this machine, `x86-64-v3` and the like a level of x86-64;
    else a triple of `TRIPLES` (a vendor part such as `-unknown-` may be left in), alone or as `triple:mcpu`.

    The processor after the colon is checked when TVM is loaded. Raises UserError with the nearest names.
    """
    name = name.strip().lower()
    if name in ("auto", "native"):
        return _native()
    if name in _LEVELS:
        return CpuTarget(_X86, name)
    triple, _, mcpu = name.partition(":")
    parts = triple.split("-")
    canonical = "-".join((parts[0], *parts[2:])) if len(parts) == 4 else triple
    if canonical not in TRIPLES:
        raise unknown("target of tvm", name, ["native", *_LEVELS, *TRIPLES])
    return CpuTarget(canonical, mcpu or ("x86-64" if canonical == _X86 else ""))


def runnable(target: CpuTarget) -> str | None:
    """None when this CPU runs code for `target`, else the reason why not. A named `mcpu` is trusted on its own arch."""
    if target.arch != platform.machine():
        return f"built for {target.arch}, and this machine is {platform.machine()}"
    missing = sorted(_required(target.mcpu) - _cpu_flags())
    return f"this CPU lacks {', '.join(missing)}" if missing else None


@cache
def _native() -> CpuTarget:
    """The highest x86-64 level of this CPU: as fast as its own name to LLVM (measured), and stable over a farm."""
    triple = f"{platform.machine()}-linux-gnu"
    if triple not in TRIPLES:
        raise UserError(f"tvm: no target is known for {platform.machine()} machines; known: {', '.join(TRIPLES)}")
    if triple != _X86:
        return CpuTarget(triple, "")
    flags = _cpu_flags()
    levels = [level for level in _LEVELS if _required(level) <= flags]
    return CpuTarget(triple, levels[-1] if levels else "x86-64")


def _required(mcpu: str) -> frozenset[str]:
    """All flags that an x86-64 level demands, nothing for another name."""
    levels = list(_LEVELS)
    if mcpu not in levels:
        return frozenset()
    return frozenset().union(*(_LEVELS[level] for level in levels[: levels.index(mcpu) + 1]))


@cache
def _cpu_flags() -> frozenset[str]:
    """The CPU's features by their names in /proc/cpuinfo; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
