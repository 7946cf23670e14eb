"""Compiles and runs a model with our kernels, in a process without torch; the tests call it by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np


def run(
    folder: str, name: str = "x86-64-v3", winograd: bool = True, drawn: int | None = None, dot: str = ""
) -> dict[str, Any]:
    """Run `model.onnx` of a folder on `feed.npz` and write `found.npz`. Returns the kernels and the operators left over.

    `drawn` seeds schedules, in place of the default ones. `dot` names how products of integers are summed, where it isn't
    as the target does.
    """
    import tvm
    from tvm import relax

    executable, applied, inputs = build(folder, name, winograd, drawn, dot)
    machine = relax.VirtualMachine(executable, tvm.cpu())
    feed = np.load(Path(folder, "feed.npz"))
    result = machine["main"](*(tvm.runtime.tensor(feed[tensor.name]) for tensor in inputs))
    results = [result] if hasattr(result, "numpy") else list(result)
    np.savez(Path(folder, "found.npz"), *(array.numpy() for array in results))
    return {"kernels": dict(applied.kernels), "left": [f"{op}: {why}" for op, why in applied.left]}


def build(folder: str, name: str, winograd: bool, drawn: int | None = None, dot: str = "") -> tuple[Any, Any, Any]:
    """The executable of `model.onnx` of a folder, the account of its kernels, and its inputs."""
    from enginesmith.converters.backends.tvm.frontend.importer import compile_module

    lowered, target, applied, inputs = lower(folder, name, winograd, drawn, dot)
    return compile_module(lowered, target), applied, inputs


def lower(
    folder: str, name: str, winograd: bool = True, drawn: int | None = None, dot: str = ""
) -> tuple[Any, Any, Any, Any]:
    """The scheduled module of `model.onnx` of a folder, its target, the account of its kernels, and its inputs."""
    from enginesmith.converters.backends.tvm.frontend import importer
    from enginesmith.converters.backends.tvm.kernels.anchors import Settings
    from enginesmith.converters.backends.tvm.kernels.apply import simd_for, use_kernels
    from enginesmith.converters.backends.tvm.kernels.int8 import dots
    from enginesmith.converters.backends.tvm.processors import llvm_target
    from enginesmith.converters.backends.tvm.schedule import schedule, tile_for
    from enginesmith.converters.backends.tvm.target import parse

    cpu, target = parse(name), llvm_target(name)
    imported = importer.import_onnx(Path(folder, "model.onnx"), {})
    module = importer.prepare(imported.module, target)
    summed = getattr(dots, dot) if dot else dots.dot_for(cpu.arch, cpu.dot)
    settings = Settings(simd_for(cpu.arch, cpu.mcpu), winograd=winograd, dot=summed)
    if drawn is not None:
        settings = draw(settings, module, drawn)
    applied = use_kernels(module, settings)
    lowered = schedule(importer.lower(applied.module, target), tile_for(cpu.mcpu))
    return lowered, target, applied, imported.inputs


def machine_code(folder: str, name: str) -> dict[str, Any]:
    """Kernels and assembly of `model.onnx` of a folder, for a target that this machine needs not to be."""
    executable, applied, _ = build(folder, name, True)
    return {
        "kernels": dict(applied.kernels),
        "code": "".join(str(part.inspect_source("asm")) for part in executable.mod.imports),
    }


def draw(settings: Any, module: Any, seed: int) -> Any:
    """Settings with any of the possible schedules for each kernel of a module, and any kernel for each convolution."""
    import random
    from dataclasses import replace

    from enginesmith.converters.backends.tvm.kernels.apply import use_kernels
    from enginesmith.converters.backends.tvm.kernels.workload import Tuned, geometry

    random.seed(seed)
    use_kernels(module, settings)
    convolutions = [workload.kernel() for workload in settings.made if workload.kind in ("convolution", "winograd")]
    sizes = {
        geometry(kernel.source, kernel.target, kernel.window.dilations): random.choice([0, 2, 4])
        for kernel in convolutions
    }
    settings = replace(settings, tuned=Tuned({}, sizes), made=Counter())
    use_kernels(module, settings)
    schedules = {}
    for workload in settings.made:
        kernel = workload.kernel()
        assert kernel.schedule.within(kernel.space())
        values = {name: random.choice(values) for name, values in kernel.space().items()}
        schedules[workload.key] = type(kernel.schedule)(**values)
        assert workload.kernel(schedules[workload.key]).schedule == schedules[workload.key]
    return replace(settings, tuned=Tuned(schedules, sizes), made=Counter())


def step(op: str, folder: str) -> None:
    """Apply one step of an expression to the numbers in `x.npy`, a multiple of eight of them; writes `y.npy`."""
    import tvm

    from enginesmith.converters.backends.tvm.kernels.emit import Simd
    from enginesmith.converters.backends.tvm.kernels.expression import Expression, Step
    from enginesmith.converters.backends.tvm.kernels.layout import Blocked
    from enginesmith.converters.backends.tvm.kernels.pointwise import Concat
    from enginesmith.converters.backends.tvm.processors import llvm_target

    x = np.load(Path(folder, "x.npy"))
    layout = Blocked(1, 8, 1, x.size // 8, 8)
    kernel = Concat(Simd(8, 16), [layout], layout, Expression((), (Step(op, (0,)),))).kernel("step")
    built = tvm.compile(tvm.IRModule({"step": kernel}), target=llvm_target("x86-64-v3"))
    source, result = tvm.runtime.tensor(x.reshape(layout.shape)), tvm.runtime.tensor(np.zeros(layout.shape, np.float32))
    built["step"](source, result)
    np.save(Path(folder, "y.npy"), result.numpy().reshape(-1))


def assembly(name: str) -> str:
    """The machine code of a convolution for a target, which this machine needs not to be."""
    import tvm

    from enginesmith.converters.backends.tvm.kernels.apply import simd_for
    from enginesmith.converters.backends.tvm.kernels.convolution import DirectConvolution
    from enginesmith.converters.backends.tvm.kernels.expression import Expression
    from enginesmith.converters.backends.tvm.kernels.layout import Blocked, Window
    from enginesmith.converters.backends.tvm.processors import llvm_target
    from enginesmith.converters.backends.tvm.target import parse

    cpu = parse(name)
    simd = simd_for(cpu.arch, cpu.mcpu)
    planes = Blocked(1, 32, 16, 16, simd.lanes)
    kernel = DirectConvolution(simd, Window((1, 1)), 1, planes, planes, Expression()).kernel("convolution")
    built = tvm.compile(tvm.IRModule({"convolution": kernel}), target=llvm_target(name))
    return str(built.mod.inspect_source("asm"))


def account(folder: str, kernels: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Build `model.onnx` of a folder and run it once: its layers, and the functions that the virtual machine calls."""
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.core.stage import Context

    out = Path(folder, f"kernels_{kernels}")
    out.mkdir()
    backend = get_backend("tvm")
    request = BuildRequest(Path(folder, "model.onnx"), "x86-64-v3", {}, out, kernels=kernels)
    engine = backend.build(request, Context(out, out, out))
    called = []

    def watch(function: Any, symbol: str, before: bool, result: Any, *arguments: Any) -> int:
        if before:
            called.append(str(symbol))
        return 0

    with backend.runner(out / engine.file) as runner:
        runner.machine.set_instrument(watch)
        runner.infer({tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in runner.inputs})
    return [layer.model_dump() for layer in engine.kernels], called


def profiled(folder: str) -> dict[str, Any]:
    """Build `model.onnx` of a folder for this machine and take its profile; the record with the layers beside it."""
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.backends.tvm.profiling.profile import profile
    from enginesmith.converters.core.stage import Context

    out = Path(folder)
    backend = get_backend("tvm")
    target = backend.resolve_target("native")
    engine = backend.build(BuildRequest(out / "model.onnx", target, {}, out), Context(out, out, out))
    with backend.runner(out / engine.file, threads=2) as runner:
        feed = {tensor.name: np.ones(tensor.shape, tensor.dtype) for tensor in runner.inputs}
        found = profile(runner, target, out / "model.onnx", (feed, feed), 2, 0.1, out)
    assert found is not None
    return {**found.model_dump(), "layers": [layer.model_dump() for layer in engine.kernels]}


def profiled_shapes(folder: str) -> list[int | None]:
    """Build `model.onnx` of a folder for several batches; for each of them the number of layers with a time."""
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.backends.tvm.profiling.profile import profile
    from enginesmith.converters.core.stage import Context

    out = Path(folder)
    backend = get_backend("tvm")
    target = backend.resolve_target("native")
    shapes = [{"x": (2, 6)}, {"x": (3, 6)}]
    profiled = {"x": ((2, 6), (2, 6), (3, 6))}
    engine = backend.build(
        BuildRequest(out / "model.onnx", target, profiled, out, shapes=shapes), Context(out, out, out)
    )
    found = []
    with backend.runner(out / engine.file, threads=2) as runner:
        for shape in shapes:
            feed = {"x": np.ones(shape["x"], np.float32)}
            got = profile(runner, target, out / "model.onnx", (feed, feed), 2, 0.1, out)
            found.append(None if got is None else sum(ms > 0 for ms in got.layers_ms) - len(engine.kernels))
    return found


def compile_stage(folder: str, shapes: str) -> dict[str, Any]:
    """Run the stage on `model.onnx` of a folder; what it says."""
    from enginesmith.converters.core.stage import Context
    from enginesmith.converters.data.samples import make_samples
    from enginesmith.converters.stages.compile import Compile, CompileOptions
    from enginesmith.pipeline.job.shapes import parse_shapes

    here = Path(folder)
    samples, feeds = make_samples(parse_shapes(shapes), "tensor", 1, 0)
    for name in ("samples", "out"):
        (here / name).mkdir()
    samples.save(here / "samples", feeds)
    inputs = {"model": here, "samples": here / "samples"}
    options = CompileOptions(backend="tvm", target="x86-64-v3")
    return Compile().run(inputs, options, Context(here / "out", here / "out", here / "out")).model_dump()


def checks(folder: str) -> dict[str, Any]:
    """Of `model.onnx` of a folder: the kernels that only other kernels feed (`inner`), the rest (`outer`), those with code
    that raises an error (`checking`), and the answer to an input of a wrong shape.
    """
    import re

    import tvm
    from tvm import relax

    from enginesmith.converters.backends.tvm.frontend import codegen, importer

    module, target, _, inputs = lower(folder, "x86-64-v3")
    inner: dict[bool, list[str]] = {False: [], True: []}
    for name, function in codegen.note_inner(module).functions_items():
        if isinstance(function, tvm.tirx.PrimFunc):
            inner[codegen.INNER in function.attrs].append(name.name_hint)
    executable = importer.compile_module(module, target)
    code = "".join(str(part.inspect_source("ll")) for part in executable.mod.imports)
    functions = re.findall(r"^define [^@]*@__tvm_ffi_(\w+)\((.*?)^}", code, re.DOTALL | re.MULTILINE)
    wrong = tvm.runtime.tensor(np.zeros([size + 1 for size in inputs[0].shape], np.float32))
    try:
        relax.VirtualMachine(executable, tvm.cpu())["main"](wrong)
        answer = ""
    except RuntimeError as error:
        answer = str(error)
    return {
        "inner": inner[True],
        "outer": inner[False],
        "checking": [name for name, body in functions if "set_raised" in body],
        "answer": answer,
    }
