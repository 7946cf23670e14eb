"""The way in: a module with kernels of ours, and the account of what they are and what they aren't."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.target import Target, codegen

from enginesmith.converters.backends.tvm.kernels.account import Work
from enginesmith.converters.backends.tvm.kernels.anchors import Settings
from enginesmith.converters.backends.tvm.kernels.emit import Simd
from enginesmith.converters.backends.tvm.kernels.graph import Graph, NotCovered
from enginesmith.converters.backends.tvm.kernels.int8.dots import dot_for
from enginesmith.converters.backends.tvm.kernels.regions import plan
from enginesmith.converters.backends.tvm.kernels.rewrite import Rewriter
from enginesmith.converters.backends.tvm.kernels.wide import in_float32
from enginesmith.converters.backends.tvm.kernels.workload import Tuned
from enginesmith.converters.backends.tvm.target import TRIPLES, CpuTarget

MAIN = "main"


@dataclass
class Applied:
    """The new module, its calls by kind of kernel, and the operators left to TVM's lowering, with the reason."""

    module: Any
    kernels: Counter[str] = field(default_factory=Counter)
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    works: list[Work] = field(default_factory=list)
    """What the calls of kernels stand for, by the numbers of their traces."""

    def details(self) -> dict[str, str]:
        """Both, in words for the report."""
        kernels = ", ".join(f"{label} {count}" for label, count in self.kernels.most_common())
        left = ", ".join(f"{op.removeprefix('relax.')} {count} ({why})" for (op, why), count in self.left.most_common())
        return {"kernels": kernels or "none", "left to TVM's own lowering": left or "nothing"}


def simd_for(arch: str, mcpu: str) -> Simd:
    """The vector registers of a target: `arch` is the first part of its triple, `mcpu` LLVM's name of the processor."""
    triple = next(triple for triple in TRIPLES if triple.startswith(f"{arch}-"))
    features = {str(name) for name in codegen.llvm_get_cpu_features(Target(CpuTarget(triple, mcpu).config()))}
    match arch:
        case "aarch64":
            return Simd(lanes=4, registers=32)
        case "arm":
            return Simd(lanes=4, registers=16, fused="vfp4" in features)
        case "riscv64":  # without vectors four numbers are four of the 32 registers
            return Simd(lanes=4, registers=32 if "v" in features else 8)
    if "avx512f" in features:
        return Simd(lanes=16, registers=32)
    return Simd(lanes=8 if "avx" in features else 4, registers=16, fused="fma" in features)


def settings_for(cpu: CpuTarget, winograd: bool = True, tuned: Tuned | None = None) -> Settings:
    """What kernels for a processor may be, with the schedules that a search found for it."""
    return Settings(simd_for(cpu.arch, cpu.mcpu), winograd, dot_for(cpu.arch, cpu.dot), tuned or Tuned())


def use_kernels(module: Any, settings: Settings) -> Applied:
    """Put kernels into the function `main` of a Relax module whose constants are folded. A module of several functions,
    or one with control flow, comes back as it was.
    """
    module = relax.transform.DeadCodeElimination([MAIN])(in_float32(module))
    functions = {name.name_hint: function for name, function in module.functions.items()}
    lowered = {name: function for name, function in module.functions.items() if isinstance(function, tirx.PrimFunc)}
    if len(lowered) != len(functions) - 1:
        return Applied(module, left=Counter({("the whole graph", "several functions"): 1}))
    try:
        graph = Graph(functions[MAIN], functions)
    except NotCovered as reason:
        return Applied(module, left=Counter({("the whole graph", str(reason)): 1}))
    found = plan(graph, settings)
    if not found.groups:
        return Applied(module, left=found.left)
    rewriter = Rewriter(tvm.IRModule(lowered), graph, found, settings)
    built = rewriter.function(MAIN, functions[MAIN])
    # What is no longer used goes: lowered operators that are part of a kernel now, constants that stood alone.
    cleaned = relax.transform.DeadCodeElimination([MAIN])(tvm.IRModule(built.functions, attrs=module.attrs))
    return Applied(cleaned, rewriter.calls.labels, found.left, rewriter.calls.works)
