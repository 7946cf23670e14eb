"""TVM modules against ONNX Runtime, and OpenVINO where it is installed: one picture, in turn in one process.

    .venv/bin/python benchmarks/tvm.py                                  # all models, 1 and 2 threads
    .venv/bin/python benchmarks/tvm.py --only resnet18 vit_b_16 --threads 1 --target x86-64-v3
    .venv/bin/python benchmarks/tvm.py --no-kernels                     # TVM's own lowering
    .venv/bin/enginesmith build build/benchmarks/tvm/models/resnet18.onnx --backend tvm --tune 10m --threads 1 --out build/tuned/resnet18
    .venv/bin/python benchmarks/tvm.py --only resnet18 --threads 1 --engines build/tuned   # what a search found

Rounds in which other processes took more than `--busy` of a core are thrown away. On a machine that is never quiet the
ratio of processor times still says something, for one thread: it leaves out the time in which others had the core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

HERE = Path(__file__).parent
CLASSIFIERS = (
    *("resnet18", "resnet50", "mobilenet_v3_large", "mobilenet_v2", "efficientnet_b0", "squeezenet1_1"),
    *("regnet_y_400mf", "densenet121", "vit_b_16", "swin_t", "lenet", "mlp"),
)
DETECTORS = (*("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large", "ssd300_vgg16"),)
RUNS_PER_ROUND = 5


def busy_seconds() -> float:
    """Processor time that all processes have taken since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


class Side:
    """One engine's times, of quiet rounds and of all of them, in milliseconds."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
        self.quiet: list[float] = []
        self.cpu: list[float] = []

    def round(self, most_busy: float) -> None:
        """A few runs in a row, counted by the clock if the rest of the machine was quiet."""
        self.run()  # the other side's data is in the caches
        before, own, started = busy_seconds(), time.process_time(), time.perf_counter()
        walls, cpus = [], []
        for _ in range(RUNS_PER_ROUND):
            wall, cpu = time.perf_counter(), time.thread_time()
            self.run()
            cpus.append((time.thread_time() - cpu) * 1e3)
            walls.append((time.perf_counter() - wall) * 1e3)
        others = busy_seconds() - before - (time.process_time() - own)
        self.cpu += cpus
        if others <= most_busy * (time.perf_counter() - started):
            self.quiet += walls


def measure(model: Path, out: Path, arguments: argparse.Namespace, threads: int) -> dict[str, Any]:
    """Build the module, compare its outputs, and time all sides. In a process without torch."""
    os.environ["TVM_NUM_THREADS"] = str(threads)
    import onnxruntime

    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.core.stage import Context

    backend = get_backend("tvm")
    out.mkdir(parents=True, exist_ok=True)
    target = backend.resolve_target(arguments.target)
    started, cpu = time.perf_counter(), time.process_time()
    if arguments.engines:
        (engine,) = (arguments.engines / model.stem).rglob(backend.engine_file)
    else:
        request = BuildRequest(model, target, {}, out, kernels=not arguments.no_kernels)
        engine = out / backend.build(request, Context(out, out, out)).file
    compiled, compiled_cpu = time.perf_counter() - started, time.process_time() - cpu
    options = onnxruntime.SessionOptions()
    # Its threads wait actively for the next run otherwise, and take a core from the other sides.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    feed = {given.name: picture(given.shape) if model.stem in DETECTORS else noise(given.shape)}
    expected = session.run(None, feed)
    compare = matched_errors if model.stem in DETECTORS else largest_errors
    peer = compare(peer_session(model, options).run(None, feed), expected)
    with backend.runner(engine, threads=threads) as runner:
        errors = compare([*runner.infer(feed).values()], expected)
        tensor = runner.to_tensor(feed[given.name], runner.device)
        main = runner.machine["main"]
        sides = {"tvm": Side(lambda: main(tensor)), "onnxruntime": Side(lambda: session.run(None, feed))}
        if other := openvino(model, feed, threads):
            sides["openvino"] = Side(other)
        load = os.getloadavg()[0]
        deadline = time.monotonic() + arguments.seconds
        while time.monotonic() < deadline and min(len(side.quiet) for side in sides.values()) < arguments.runs:
            for side in sides.values():
                side.round(arguments.busy)
    return {
        "model": model.stem,
        "threads": threads,
        "target": target,
        "compile_s": compiled,
        "compile_cpu_s": compiled_cpu,
        "errors": errors,
        "peer_errors": peer,
        "load": [load, os.getloadavg()[0]],
        "quiet": {name: side.quiet for name, side in sides.items()},
        "cpu": {name: side.cpu for name, side in sides.items()},
        "engine": str(engine),
    }


def noise(shape: list[int]) -> Any:
    return np.random.default_rng(0).random(shape, np.float32)


def picture(shape: list[int]) -> Any:
    """A photograph, float32[1, 3, H, W] in 0..1: a detector finds boxes where there is something to see."""
    from enginesmith.converters.data import pictures

    pixels = pictures.load(pictures.names()[0], shape[2], shape[3])
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / 255


def peer_session(model: Path, options: Any) -> Any:
    """ONNX Runtime with fewer of its optimizations: how far its results lie from its own is what rounding does here."""
    import onnxruntime

    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def largest_errors(found: list[Any], expected: list[Any]) -> list[float]:
    """Of each output, relative to its largest number."""
    return [
        float(np.abs(values - wanted).max() / max(1e-6, np.abs(wanted).max()))
        for values, wanted in zip(found, expected, strict=True)
    ]


def matched_errors(found: list[Any], expected: list[Any]) -> list[float]:
    """Of boxes and scores, relative to the largest, over the detections that have a partner of the same label and place;
    at last the share of detections that have none.
    """
    from enginesmith.converters.graphs.matching import iou, pictures_of

    names = ("boxes", "scores", "labels")
    side, other = (pictures_of(dict(zip(names, outputs, strict=True)))[0] for outputs in (expected, found))
    overlaps = iou(side.boxes, other.boxes)
    overlaps[side.labels[:, None] != other.labels[None]] = 0
    pairs = [(row, int(column)) for row, column in enumerate(overlaps.argmax(axis=1)) if overlaps[row, column] > 0.9]
    rows, columns = (np.array(index, int) for index in zip(*pairs, strict=True)) if pairs else ([], [])
    errors = [
        float(np.abs(values[rows] - others[columns]).max(initial=0) / max(1e-6, np.abs(values).max(initial=0)))
        for values, others in ((side.boxes, other.boxes), (side.scores, other.scores))
    ]
    return [*errors, 1 - len(pairs) / max(1, len(side.scores))]


def openvino(model: Path, feed: dict[str, Any], threads: int) -> Callable[[], Any] | None:
    """OpenVINO at its settings for latency; None where it isn't installed."""
    try:
        import openvino as ov  # type: ignore[import-not-found]
    except ImportError:
        return None
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.compile_model(model, "CPU", hints).create_infer_request()
    return lambda: request.infer(feed, share_inputs=True, share_outputs=True)


def row(result: dict[str, Any], runs: int) -> tuple[str, float | None]:
    """A line of the table, and TVM's time against ONNX Runtime's."""
    quiet, cpu = result["quiet"], result["cpu"]
    cells = [f"{result['model']:24}", str(result["threads"])]
    enough = min(map(len, quiet.values())) >= runs
    times = {name: median(values) for name, values in (quiet if enough else cpu).items()}
    counted = enough or result["threads"] == 1
    ratio = times["tvm"] / times["onnxruntime"] if counted else None
    names = ("tvm", "onnxruntime", "openvino")
    cells += [f"{times[name]:.4g}" if name in times and counted else "-" for name in names]
    cells.append(f"{ratio:.2f}" if ratio else "-")
    cells.append("clock" if enough else "cpu time" if counted else "busy")
    cells += [
        f"{max(result['errors']):.1e} ({max(result['peer_errors']):.1e})",
        f"{result['compile_s']:.0f} ({result['compile_cpu_s']:.0f})",
    ]
    cells.append(" to ".join(f"{load:.1f}" for load in result["load"]))
    return f"| {' | '.join(cells)} |", ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[*CLASSIFIERS, *DETECTORS], metavar="MODEL")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60, help="for one model at most")
    parser.add_argument("--busy", type=float, default=0.15)
    parser.add_argument("--target", default="native")
    parser.add_argument("--no-kernels", action="store_true")
    parser.add_argument(
        "--engines", type=Path, metavar="FOLDER", help="modules that were built before, in FOLDER/MODEL"
    )
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/tvm"))
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "THREADS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        sys.modules["torch"] = None  # type: ignore[assignment]
        sys.path[:] = [path for path in sys.path if Path(path).resolve() != HERE.resolve()]  # this file isn't TVM
        name, threads = arguments.one
        model = arguments.out / "models" / f"{name}.onnx"
        print(json.dumps(measure(model, arguments.out / "engines" / name, arguments, int(threads))))
        return
    missing = [name for name in arguments.only if not (arguments.out / "models" / f"{name}.onnx").exists()]
    if missing:
        subprocess.run(
            [sys.executable, str(HERE / "tvm_models.py"), str(arguments.out / "models"), *missing], check=True
        )
    print(
        "| model | threads | TVM | ONNX Runtime | OpenVINO | ratio | by | error (ONNX Runtime's own) | compile, s (cpu) | load |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    ratios: dict[int, list[float]] = {}
    for threads in arguments.threads:
        for name in arguments.only:
            command = [sys.executable, *sys.argv, "--one", name, str(threads)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            with (arguments.out / "results.jsonl").open("a", encoding="utf-8") as log:
                print(json.dumps(result), file=log)
            line, ratio = row(result, arguments.runs)
            print(line, flush=True)
            if ratio:
                ratios.setdefault(threads, []).append(ratio)
    for threads, values in ratios.items():
        print(f"geometric mean of {len(values)} ratios, {threads} thread(s): {geometric_mean(values):.2f}")


if __name__ == "__main__":
    main()
