"""TVM: compiles a graph into a shared library for a CPU, weights inside."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends.base import Backend, BuildRequest, Profile, Rejection
from enginesmith.converters.backends.profile import static_profiles
from enginesmith.converters.backends.tvm import target as targets
from enginesmith.converters.backends.tvm.processors import llvm_target, processor
from enginesmith.converters.backends.tvm.signature import Signature, called
from enginesmith.converters.backends.tvm.target import CpuTarget
from enginesmith.converters.core import engine_layers
from enginesmith.converters.core.engine_layers import Layer, Layers
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.inputs import written
from enginesmith.converters.core.isolated import FAILED
from enginesmith.converters.core.records import EngineInfo
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs.products import Products, products_of

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

    from enginesmith.converters.backends.base import Feed
    from enginesmith.converters.backends.tvm.frontend.importer import Imported
    from enginesmith.converters.backends.tvm.kernels.apply import Applied

ENGINE = "module.so"
ELF = b"\x7fELF"


class TvmBackend(Backend):
    """Builds `module.so` and, beside it, `module.json`, which says what to feed it."""

    name = "tvm"
    packages: tuple[str, ...] = ("apache-tvm", "apache-tvm-ffi")
    requirement = "pip install 'apache-tvm==0.27.*' 'apache-tvm-ffi==0.1.14.*'"
    engine_file = ENGINE
    table = "tvm"
    preload: tuple[str, ...] = ("tvm", f"{__package__}.check", f"{__package__}.kernels.apply")
    levels: tuple[Mapping[str, int], ...] = ({"winograd": False}, {"kernels": False})
    tunable = True

    def available(self) -> str | None:
        if importlib.util.find_spec("tvm") is None:
            return f"not installed: {self.requirement}"
        if not any(map(shutil.which, ("c++", "g++", "clang++"))):
            return "no C++ compiler to link with (c++, g++ or clang++): apt install g++"
        return None

    def buildable(self, target: str) -> str | None:
        cpu = targets.parse(target)
        try:
            if cpu.by_name:
                processor(cpu.triple, cpu.mcpu)
        except FAILED as error:
            return f"TVM doesn't say which processors it knows: {error}"
        return targets.unlinkable(cpu)

    def runnable(self, target: str) -> str | None:
        cpu = targets.parse(target)
        here = cpu.by_name and cpu.arch == platform.machine()
        features = processor(cpu.triple, cpu.mcpu).features if here else frozenset()
        return targets.runnable(cpu, features)

    def resolve_target(self, target: str) -> str:
        return targets.parse(target).name

    def check(self, request: BuildRequest, context: Context) -> list[Finding]:
        """Ask the frontend's table of operators, our list of wrong conversions, and a real import and lowering.

        No machine code is made: that takes nearly all of the time, and what can be lowered compiles.
        """
        from enginesmith.converters.backends.tvm.check import check

        return check(self.rules(), request, context)

    def parse(self, onnx: Path) -> Rejection | None:
        from enginesmith.converters.backends.tvm.check import rejected

        return rejected(onnx)

    def trial(self, onnx: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]) -> Rejection | None:
        """Import and lower: what can be lowered compiles. `values` mean nothing here."""
        from enginesmith.converters.backends.tvm.check import trial

        return trial(self.rules(), onnx, target, profile)

    def build(self, request: BuildRequest, context: Context) -> EngineInfo:
        """Import, optimize, compile and link. With a profile, every dynamic dimension is fixed at its optimum, or
        the module has code for each of the shapes asked for.

        Raises UserError for a target that LLVM or this machine's linker doesn't know, ConversionError otherwise.
        """
        if reason := self.available() or targets.unlinkable(targets.parse(request.target)):
            raise UserError(f"tvm: {reason}")
        from enginesmith.converters.backends.tvm.check import listed
        from enginesmith.converters.backends.tvm.frontend.importer import ImportFailed, compile_module

        cpu = targets.parse(request.target)
        target = llvm_target(request.target)
        context.progress("importing the graph", 0.0)
        refused = [finding for finding in listed(self.rules(), request.onnx) if finding.severity == "error"]
        if refused:
            raise self._failure(request, context, f"{refused[0].op}: {refused[0].message}")
        try:
            made = [_lower(request, profile, cpu, target, context) for profile in static_profiles(request)]
        except ImportFailed as error:
            raise self._failure(request, context, str(error)) from error
        imported, applied, module = made[0].imported, made[0].applied, made[0].module
        scheduled = made[0].scheduled
        if len(made) > 1:
            from enginesmith.converters.backends.tvm.shapes import join

            scheduled = join([one.scheduled for one in made], request.shapes)
        context.progress("compiling", 0.3)
        executable = compile_module(scheduled, target)
        context.progress("linking", 0.9)
        path = request.out / ENGINE
        self._link(executable, cpu, path)
        libraries, python = called(path)
        signature = Signature(
            inputs=imported.inputs,
            outputs=imported.outputs,
            shapes=[{name: list(shape) for name, shape in shapes.items()} for shapes in request.shapes],
            held=imported.held,
            libraries=libraries,
            python=python,
        )
        signature.save(path)
        Layers(layers=made[0].layers).write(path)
        by_dtype = _kernels_by_dtype(module)
        return EngineInfo(
            backend=self.name,
            target=request.target,
            file=path.name,
            size=path.stat().st_size,
            layers=sum(by_dtype.values()),
            layers_by_dtype=by_dtype,
            kernels=made[0].layers,
            products_asked=products_of(request.onnx),
            products_built=made[0].products,
            details={
                "tvm": self.version(),
                "layers": "calls of compiled kernels, by what they compute in: int8 for products of integers",
                **applied.details(),
                "runs with": signature.runs_with,
                **({"shapes": _told(request)} if request.profile else {}),
            },
        )

    def runner(self, engine: Path, threads: int | None = None) -> BaseRunner:
        """A runner in this process, which must not have imported torch: the two together take a minute to load."""
        from enginesmith.converters.backends.tvm.runner import TvmRunner

        return TvmRunner(engine, threads=threads)

    def contents(self, engine: Path) -> dict[str, str]:
        if engine.read_bytes()[:4] != ELF:
            raise UserError(f"{engine} is no TVM module: it is no shared library")
        signature = Signature.of(engine)
        first = {each.name: each.shape for each in signature.inputs}
        shapes = [written(first), *map(written, signature.shapes[1:])]
        held = {each.name: "x".join(map(str, each.values)) for each in signature.held}
        layers = Layers.beside(engine)
        return {
            "inputs": ", ".join(f"{each.name} {each.dtype}" for each in signature.inputs),
            "shapes": "; ".join(shapes),
            "outputs": ", ".join(signature.outputs),
            **({"built for the values": ", ".join(f"{name}={value}" for name, value in held.items())} if held else {}),
            "runs with": signature.runs_with,
            **({"kernels": _counted(layers)} if layers else {}),
        }

    def layer_times(
        self,
        engine: Path,
        target: str,
        model: Path,
        feeds: tuple[Feed, Feed],
        threads: int,
        seconds: float,
        scratch: Path,
    ) -> engine_layers.Profile | None:
        from enginesmith.converters.backends.tvm.profiling.profile import profile

        if Layers.beside(engine) is None:
            return None
        with self.runner(engine, threads=threads) as runner:
            return profile(runner, target, model, feeds, threads, seconds, scratch)

    def _failure(self, request: BuildRequest, context: Context, message: str) -> ConversionError:
        findings = self.check(request, context)
        remedy = next((finding.remedy for finding in findings if finding.remedy), "")
        return ConversionError(f"tvm {self.version()}: {message}", remedy, findings)

    def _link(self, executable: Any, cpu: CpuTarget, path: Path) -> None:
        from tvm.support import cc

        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix tells TVM what to make, so the partial file keeps it.
        partial = path.with_name(f"{path.stem}.{os.getpid()}.partial{path.suffix}")
        try:
            executable.export_library(str(partial), fcompile=cc.cross_compiler(cpu.linker()))
        except RuntimeError as error:
            lines = str(error).strip().splitlines()
            raise ConversionError(f"linking failed: {next((x for x in lines if 'error: ' in x), lines[-1])}") from error
        os.replace(partial, path)


@dataclass(frozen=True)
class _Lowered:
    """The graph at fixed shapes: as it was imported, with kernels, lowered, and with everything scheduled."""

    imported: Imported
    applied: Applied
    layers: list[Layer]
    products: Products
    module: Any
    scheduled: Any


def _lower(request: BuildRequest, profile: Profile, cpu: CpuTarget, target: Any, context: Context) -> _Lowered:
    """All before machine code is made. Raises ImportFailed, UserError."""
    from enginesmith.converters.backends.tvm.frontend import importer
    from enginesmith.converters.backends.tvm.kernels import account, apply
    from enginesmith.converters.backends.tvm.kernels.workload import Tuned
    from enginesmith.converters.backends.tvm.schedule import schedule, tile_for

    imported = importer.import_onnx(request.onnx, profile, request.values)
    context.progress("optimizing the graph", 0.1)
    prepared = importer.prepare(imported.module, target)
    applied = apply.Applied(prepared)
    if request.kernels:
        settings = apply.settings_for(cpu, request.winograd, Tuned.read(request.schedules))
        applied = apply.use_kernels(prepared, settings)
    legal = importer.legalize(account.note_operators(applied.module, applied.works), target)
    grouped, module = importer.fuse(legal, target)
    layers = account.layers(legal, grouped, applied.works, imported.nodes)
    products = account.products(applied.works, imported.nodes)
    return _Lowered(imported, applied, layers, products, module, schedule(module, tile_for(cpu.mcpu)))


def _counted(layers: Layers) -> str:
    counts = Counter(layer.kernel for layer in layers.layers)
    return ", ".join(f"{count} {kernel}" for kernel, count in counts.most_common())


def _told(request: BuildRequest) -> str:
    """Which of the shapes that a dynamic graph takes its module takes."""
    if not request.shapes:
        return "fixed at the profile's optimum"
    return f"{', '.join(map(written, request.shapes))}; layers and kernels are those of the first"


def _kernels_by_dtype(module: Any) -> dict[str, int]:
    """Calls of compiled kernels in the optimized module's functions, by what they compute in; of TVM's own lowering, that
    is the dtype of their first output.
    """
    from tvm import relax

    from enginesmith.converters.backends.tvm.kernels.emit import COMPUTES_IN

    counts: Counter[str] = Counter()

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Call) and getattr(expr.op, "name", "") == "relax.call_tir":
            kind = expr.ty.fields[0] if isinstance(expr.ty, relax.TupleType) else expr.ty
            told = (module[expr.args[0]].attrs or {}).get(COMPUTES_IN)
            counts[str(told or kind.dtype)] += 1

    for function in module.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return dict(counts.most_common())


TVM = TvmBackend()
