"""Names of CPU targets for TVM, and what this machine is, without importing TVM."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.names import unknown

# What each x86-64 level adds to the one before it, as /proc/cpuinfo names it.
# Source: x86-64 psABI, "Micro-Architecture Levels".
_LEVELS = {
    "x86-64": frozenset({"sse2"}),
    "x86-64-v2": frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    "x86-64-v3": frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
_X86 = "x86_64-linux-gnu"
_ARM = "aarch64-linux-gnu"
# Instructions that sum products of 8-bit integers, by the target's name without them:
# what they are called after its `+`, by LLVM, and by /proc/cpuinfo.
_DOTS = {
    "x86-64-v3": ("vnni", "+avxvnni", "avx_vnni"),
    "x86-64-v4": ("vnni", "+avx512vnni", "avx512_vnni"),
    _ARM: ("dotprod", "+dotprod", "asimddp"),
}
TRIPLES = (_X86, _ARM, "arm-linux-gnueabihf", "riscv64-linux-gnu")
"""Triples that we can link a shared library for, given a compiler of that name."""
_ARCHITECTURES = tuple(triple.partition("-")[0] for triple in TRIPLES)

# What processors have without being named, ARMv7 with NEON and RV64GC: LLVM's own default calls functions for every number.
_BASE = {"arm-linux-gnueabihf": ("+armv7-a", "+neon"), "riscv64-linux-gnu": ("+m", "+a", "+f", "+d", "+c")}
_ABI = {"arm-linux-gnueabihf": {"mfloat-abi": "hard"}, "riscv64-linux-gnu": {"mabi": "lp64d"}}


@dataclass(frozen=True)
class CpuTarget:
    """An LLVM triple and the processor in it, `generic` code where `mcpu` is empty."""

    triple: str
    mcpu: str
    dot: str = ""
    """What it has for sums of 8-bit products beyond its level: `vnni`, `dotprod`, or nothing."""

    @property
    def name(self) -> str:
        """Canonical: a level alone (`x86-64-v3`), a triple alone, or `triple:mcpu`; then `+vnni` or `+dotprod`."""
        return f"{self._plain}+{self.dot}" if self.dot else self._plain

    @property
    def _plain(self) -> str:
        if self.triple == _X86 and self.mcpu in _LEVELS:
            return self.mcpu
        return f"{self.triple}:{self.mcpu}" if self.mcpu else self.triple

    @property
    def arch(self) -> str:
        return self.triple.partition("-")[0]

    @property
    def by_name(self) -> bool:
        """Is it a processor by LLVM's own name, not a level of x86-64?"""
        return bool(self.mcpu) and self.mcpu not in _LEVELS

    def config(self) -> dict[str, Any]:
        """What `tvm.target.Target` takes."""
        target: dict[str, Any] = {"kind": "llvm", "mtriple": self.triple, **_ABI.get(self.triple, {})}
        features = [] if self.mcpu else list(_BASE.get(self.triple, ()))
        if self.dot:
            features.append(_DOTS[self._plain][1])
        if self.mcpu:
            target["mcpu"] = self.mcpu
        return target | {"mattr": features} if features else target

    def linker(self) -> str:
        """The C++ compiler that links for this triple, empty when this machine has none."""
        names = ("c++", "g++", "clang++") if self.arch == platform.machine() else (f"{self.triple}-g++",)
        return next((path for path in map(shutil.which, names) if path), "")


def parse(name: str) -> CpuTarget:
    """The target called `name`: `auto` and `native` are this machine, `x86-64-v3` and the like a level of x86-64;
    else a triple of `TRIPLES` (a vendor part such as `-unknown-` may be left in), alone or as `triple:mcpu`. After a `+`
    stands what the processor has for products of 8-bit integers beyond its level: `x86-64-v4+vnni`.

    The processor after the colon is checked when TVM is loaded. Raises UserError with the nearest names.
    """
    name = name.strip().lower()
    if name in ("auto", "native"):
        return _native()
    plain, _, dot = name.partition("+")
    if plain in _LEVELS:
        target = CpuTarget(_X86, plain)
    else:
        triple, _, mcpu = plain.partition(":")
        parts = triple.split("-")
        canonical = "-".join((parts[0], *parts[2:])) if len(parts) == 4 else triple
        if canonical not in TRIPLES and "linux" not in name and not name.startswith(("x86", *_ARCHITECTURES)):
            raise UserError(
                f"unknown target of tvm {name!r}; a processor comes after its triple, such as {_X86}:{name}; "
                f"known: native, {', '.join((*_LEVELS, *TRIPLES))}"
            )
        if canonical not in TRIPLES:
            raise unknown("target of tvm", name, ["native", *_LEVELS, *TRIPLES])
        target = CpuTarget(canonical, mcpu or ("x86-64" if canonical == _X86 else ""))
    if dot and (target.name not in _DOTS or _DOTS[target.name][0] != dot):
        raise unknown("target of tvm", name, [f"{base}+{known}" for base, (known, _, _) in _DOTS.items()])
    return replace(target, dot=dot)


def unlinkable(target: CpuTarget) -> str | None:
    """None when this machine has a C++ compiler that links for `target`, else what to install."""
    if target.linker():
        return None
    return f"no C++ compiler that links for {target.triple}: apt install g++-{target.triple.replace('_', '-')}"


def runnable(target: CpuTarget, features: frozenset[str] = frozenset()) -> str | None:
    """None when this CPU runs code for `target`, else the reason why not.

    `features` of a processor that is named, as LLVM calls them: those are looked at that x86-64's levels are made of.
    """
    if target.arch != platform.machine():
        return f"built for {target.arch}, and this machine is {platform.machine()}"
    known = frozenset().union(*_LEVELS.values())
    missing = sorted((_required(target) | (features & known)) - _cpu_flags())
    return f"this CPU lacks {', '.join(missing)}" if missing else None


@cache
def _native() -> CpuTarget:
    """The highest x86-64 level of this CPU, with its 8-bit products: as fast as its own name to LLVM (measured), and
    stable over a farm.
    """
    triple = f"{platform.machine()}-linux-gnu"
    if triple not in TRIPLES:
        raise UserError(f"tvm: no target is known for {platform.machine()} machines; known: {', '.join(TRIPLES)}")
    flags = _cpu_flags()
    candidates = [CpuTarget(triple, level) for level in _LEVELS] if triple == _X86 else [CpuTarget(triple, "")]
    target = next((found for found in reversed(candidates) if _required(found) <= flags), candidates[0])
    with_dot = replace(target, dot=_DOTS.get(target.name, ("", "", ""))[0])
    return with_dot if _required(with_dot) <= flags else target


def _required(target: CpuTarget) -> frozenset[str]:
    """All flags that an x86-64 level and the instructions beyond it demand, nothing for the name of a processor."""
    levels = list(_LEVELS)
    below = levels[: levels.index(target.mcpu) + 1] if target.mcpu in levels else []
    beyond = {_DOTS[replace(target, dot="").name][2]} if target.dot else set()
    return frozenset(beyond).union(*(_LEVELS[level] for level in below))


@cache
def _cpu_flags() -> frozenset[str]:
    """The CPU's features by their names in /proc/cpuinfo; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())
