"""A whole model for the search: which workloads it is made of, and how fast its modules are. In processes without torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.tvm.kernels.workload import Workload
from enginesmith.converters.backends.tvm.signature import Signature, signature_path
from enginesmith.converters.backends.tvm.target import parse
from enginesmith.converters.backends.tvm.tuning.machine import connect
from enginesmith.converters.backends.tvm.tuning.trial import paired
from enginesmith.converters.core.errors import ConversionError

ROUNDS = 15
"""The modules run in turn so many times."""


def workloads(request: BuildRequest) -> Counter[Workload]:
    """What kernels with schedules are made for, and how often. Raises ConversionError as a build does."""
    from enginesmith.converters.backends.profile import static_profiles
    from enginesmith.converters.backends.tvm.frontend import importer
    from enginesmith.converters.backends.tvm.kernels import apply
    from enginesmith.converters.backends.tvm.processors import llvm_target

    cpu, target = parse(request.target), llvm_target(request.target)
    settings = apply.settings_for(cpu, request.winograd)
    try:
        for profile in static_profiles(request):
            module = importer.prepare(importer.import_onnx(request.onnx, profile).module, target)
            apply.use_kernels(module, settings)
    except importer.ImportFailed as error:
        raise ConversionError(f"tvm could not import the graph: {error}") from error
    return settings.made


def race(engines: Sequence[str], target: str, threads: int, tracker: str = "") -> list[float]:
    """Milliseconds of each engine on random inputs, from runs in turn."""
    os.environ["TVM_NUM_THREADS"] = str(threads)
    import tvm
    from tvm import relax

    machine = connect(target, threads, tracker)
    timers = []
    for engine in map(Path, engines):
        virtual = relax.VirtualMachine(machine.bring(engine), machine.device)
        rng = np.random.default_rng(0)
        inputs: list[Any] = []
        signature = Signature.model_validate_json(signature_path(engine).read_bytes())
        for tensor in signature.inputs:
            shape = [int(size) for size in tensor.shape]
            values = rng.random(shape, np.float32) if tensor.dtype == "float32" else np.ones(shape, tensor.dtype)
            inputs.append(tvm.runtime.tensor(values.astype(tensor.dtype), machine.device))
        virtual.set_input("main", *inputs)
        evaluate = virtual.time_evaluator("invoke_stateful", machine.device, number=1, repeat=1)
        timers.append(evaluate)
    rounds = [[1e3 * evaluate("main").mean for evaluate in timers] for _ in range(ROUNDS)]
    return paired(rounds)
