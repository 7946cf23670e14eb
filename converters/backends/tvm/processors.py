"""What LLVM knows about a processor, asked in a process of its own: TVM takes seconds to import, and a minute beside torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from enginesmith.converters.backends.tvm.target import parse
from enginesmith.converters.core.isolated import Isolated
from enginesmith.converters.core.names import unknown

SECONDS = 60.0
"""For a question that takes milliseconds, once TVM is there."""


@dataclass(frozen=True)
class Processor:
    """`features` by LLVM's names, such as `avx2`."""

    triple: str
    name: str
    features: frozenset[str]


@cache
def processor(triple: str, name: str) -> Processor:
    """The processor called `name`. Raises UserError with the nearest names, `isolated.FAILED` where TVM can't be asked."""
    with Isolated(without_torch=True) as process:
        known = process.call(f"{__name__}:ask", triple, name, timeout=SECONDS)
    if name not in known["names"]:
        raise unknown(f"processor of {triple}", name, known["names"])
    return Processor(triple, name, frozenset(known["features"]))


def ask(triple: str, name: str) -> dict[str, list[str]]:
    """Called where TVM can be imported: all `names`, and the `features` of one that is among them."""
    names = processors(triple)
    return {
        "names": names,
        "features": features({"kind": "llvm", "mtriple": triple, "mcpu": name}) if name in names else [],
    }


def processors(triple: str) -> list[str]:
    """The names of an architecture's processors. Imports TVM."""
    from tvm.target import Target, codegen

    return [str(name) for name in codegen.llvm_get_cpu_archlist(Target({"kind": "llvm", "mtriple": triple}))]


def llvm_target(name: str) -> Any:
    """The `tvm.target.Target` of a canonical name. Raises UserError for a processor that LLVM doesn't know. Imports TVM."""
    from tvm.target import Target

    cpu = parse(name)
    known = processors(cpu.triple)
    if cpu.mcpu and cpu.mcpu not in known:
        raise unknown(f"processor of {cpu.triple}", cpu.mcpu, known)
    return Target(cpu.config())


def features(config: dict[str, Any]) -> list[str]:
    """The features of a target that is configured like this. Imports TVM."""
    from tvm.target import Target, codegen

    return [str(name) for name in codegen.llvm_get_cpu_features(Target(config))]
