"""Where a TVM module loses time against ONNX Runtime, and where it wins: kernels of both sides by the nodes that they compute.

    .venv/bin/python benchmarks/tvm_layers.py build/benchmarks/tvm/models/vit_b_16.onnx
    .venv/bin/python benchmarks/tvm_layers.py model.onnx --threads 2 --top 40

The model has static shapes. Equal kernels are one line, the largest loss first. Other processes on the machine show in the
rate before and after.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--target", default="native")
    parser.add_argument("--top", type=int, default=25, help="lines")
    parser.add_argument("--no-kernels", action="store_true")
    arguments = parser.parse_args()
    sys.modules["torch"] = None  # type: ignore[assignment]
    here = Path(__file__).parent.resolve()
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]  # tvm.py there isn't TVM
    os.environ["TVM_NUM_THREADS"] = str(arguments.threads)
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.backends.tvm.profiling.profile import profile
    from enginesmith.converters.core.engine_layers import Group
    from enginesmith.converters.core.stage import Context

    backend = get_backend("tvm")
    target = backend.resolve_target(arguments.target)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        request = BuildRequest(arguments.model, target, {}, out, kernels=not arguments.no_kernels)
        layers = (engine := backend.build(request, Context(out, out, out))).kernels
        with backend.runner(out / engine.file, threads=arguments.threads) as runner:
            rng = np.random.default_rng(0)
            feed = {tensor.name: rng.random(tensor.shape).astype(tensor.dtype) for tensor in runner.inputs}
            found = profile(runner, target, arguments.model, (feed, feed), arguments.threads, arguments.seconds, out)
    assert found is not None
    equal: dict[tuple[str, ...], list[Group]] = defaultdict(list)
    for group in found.groups:
        equal[tuple(layers[number].function for number in group.layers)].append(group)
    print(
        f"{arguments.model.stem}, {arguments.threads} thread(s), {found.runs} runs: "
        f"{found.engine_ms:.3g} ms, {sum(found.layers_ms):.3g} in kernels; "
        f"ONNX Runtime {found.onnxruntime_ms:.3g}, {found.onnxruntime_kernels_ms:.3g} in kernels; "
        f"{found.before.gflops:.0f} GFLOP/s before, {found.after.gflops:.0f} after"
    )
    print("| kernels | n | TVM, ms | ONNX Runtime, ms | difference | GFLOP/s | of peak | the first of them |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for names, groups in equal.items():
        engine_ms, reference = (
            sum(getattr(group, f"{side}_ms") for group in groups) for side in ("engine", "onnxruntime")
        )
        flops = sum(layers[number].flops for group in groups for number in group.layers)
        rate = flops / engine_ms / 1e6 if engine_ms else 0.0
        rows.append(
            (
                reference - engine_ms,
                " + ".join(names) or "none",
                len(groups),
                engine_ms,
                reference,
                rate,
                groups[0].name,
            )
        )
    for lost, names, count, engine_ms, reference, rate, first in sorted(rows)[: arguments.top]:
        share = f"{100 * rate / found.rates.gflops:.0f}%"
        print(
            f"| {names} | {count} | {engine_ms:.3f} | {reference:.3f} | {-lost:+.3f} | {rate:.0f} | {share} | {first} |"
        )


if __name__ == "__main__":
    main()
