"""Lower precisions side by side: ours, ONNX Runtime's, onnxconverter-common's and ModelOpt's, on the same models and data.

    .venv/bin/python benchmarks/precision.py [--only frcnn-mini digits] [--evaluated 200] [--out build/precision]

Each row: the metric before and after, whether TensorRT-RTX parses and builds the graph (sm_89), the engine's size and the
time of the conversion, its process's start included. A tool that fails is a row with its message. The peers get an
environment of their own in OUT/peers, for their packages ask for other versions than ours; it is made once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import onnx_ir as ir
from precision_cases import CASES, Case, archive, evaluator
from precision_peers import TOOLS
from pydantic import BaseModel

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.data.evaluation import Evaluator
from enginesmith.converters.precision.standin import stand_in

PEERS = ("nvidia-modelopt[onnx]", "onnxconverter-common")
OURS = {
    "fp16": ("--precision", "fp16"),
    "int8": ("--precision", "int8"),
    "auto": ("--precision", "auto", "--budget", "0.5%", "--time", "5m"),
}
BACKEND, TARGET = "tensorrt-rtx", "sm_89"
LIMIT = 1800.0
"""Seconds for one conversion."""


class Row(BaseModel):
    """What became of one conversion."""

    model: str
    tool: str
    metric: str = ""
    before: float | None = None
    after: float | None = None
    engine: int | None = None
    """Bytes; None where there is none."""
    seconds: float | None = None
    remark: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--tools", nargs="*", choices=[*OURS, *TOOLS], default=[*OURS, *TOOLS])
    parser.add_argument("--calibrated", type=int, default=64, help="examples to calibrate on")
    parser.add_argument("--evaluated", type=int, default=200, help="examples to measure the accuracy on")
    parser.add_argument("--out", type=Path, default=Path("build/precision"))
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        file = out / f"{name}.json"  # what was measured before stays, where it isn't measured anew
        rows = {row.tool: row for row in read(file)}
        for row in compare(CASES[name], arguments.tools, arguments.calibrated, arguments.evaluated, out):
            rows[row.tool] = row
            file.write_text(json.dumps([row.model_dump() for row in rows.values()], indent=1))
            print(line(row), flush=True)
    done = [row for name in CASES for row in read(out / f"{name}.json")]
    print("\n" + "\n".join(table(done)))


def read(file: Path) -> list[Row]:
    return [Row.model_validate(row) for row in json.loads(file.read_text())] if file.exists() else []


def compare(case: Case, tools: Iterable[str], calibrated: int, evaluated: int, out: Path) -> Iterator[Row]:
    """The float32 graph first, then each tool's."""
    folder = out / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    data = ["--examples", str(calibrated), "--evaluated", str(evaluated)]
    fp32 = ours(case, "fp32", ["--precision", "fp32"], folder)
    yield fp32
    graph = folder / "fp32" / "model.onnx"
    judge = evaluator(graph, case, evaluated) if case.metric else None
    examples = archive(graph, case, calibrated, folder / "calibration.npz")
    for tool in tools:
        if tool in OURS:
            yield ours(case, tool, [*OURS[tool], *data], folder)
        else:
            yield peer(case, tool, graph, examples, judge, folder, out / "peers")


def ours(case: Case, label: str, options: list[str], folder: Path) -> Row:
    """What `enginesmith build` makes and measures. The time is that of the stages that calibrate, search and lower."""
    given = {"--calib": case.calib, "--eval": case.eval, "--metric": case.metric} if label != "fp32" else {}
    given |= {"--weights": case.weights, "--backend": BACKEND, "--target": TARGET, "--measure": "0", "--threads": "1"}
    command = [str(Path(sys.executable).with_name("enginesmith")), "build", case.model, *options]
    command += [part for option, value in given.items() if value for part in (option, value)]
    ran = run([*command, "--out", str(folder / label)])
    row = Row(model=case.name, tool=f"enginesmith {label}")
    manifest = folder / label / "manifest.json"
    if not manifest.exists():
        return row.model_copy(update={"remark": last_line(ran)})
    found: dict[str, Any] = json.loads(manifest.read_text())
    lowering = [stage for stage in found["stages"] if stage["stage"] in ("calibrate", "precision", "search")]
    row.seconds = sum(stage["seconds"] for stage in lowering) or None
    for stage in found["stages"]:
        if accuracy := stage["facts"].get("accuracy"):
            row.metric, row.before, row.after = (accuracy[name] for name in ("metric", "before", "after"))
        if stage["facts"].get("lowering"):
            row.remark = stage["facts"]["note"]
    row.remark = next(
        (f"{stage['id']}: {stage['error']}" for stage in found["stages"] if stage["status"] == "failed"), row.remark
    )
    row.engine = next((engine["size"] for engine in found["engines"]), None)
    return row


def peer(case: Case, tool: str, graph: Path, examples: Path, judge: Evaluator | None, folder: Path, env: Path) -> Row:
    """What another tool makes of the same float32 graph and the same calibration data."""
    row, made = Row(model=case.name, tool=tool), folder / f"{tool}.onnx"
    # ONNX Runtime's quantizer is the one that is installed beside us, in the version that also runs the graphs
    python = Path(sys.executable) if tool.startswith("onnxruntime") else environment(env)
    work = folder / f"{tool}.work"  # ModelOpt writes beside the model
    work.mkdir()
    source = Path(shutil.copy(graph, work / "model.onnx"))
    started = time.perf_counter()
    ran = run(
        [str(python), str(Path(__file__).with_name("precision_peers.py")), tool, str(source), str(examples), str(made)]
    )
    row.seconds = time.perf_counter() - started
    if ran.returncode or not made.exists():
        row.remark = f"conversion fails: {last_line(ran)}"
        return row
    row.engine, row.remark = build_apart(made, folder / f"{tool}.trt")
    if judge is not None:
        row.metric, row.before = judge.metric.name, judge.baseline
        try:
            row.after = judge.score(rounding(made, folder / f"{tool}.standin.onnx"))
        except ConversionError as error:
            row.remark = "; ".join(filter(None, [row.remark, str(error)]))
    return row


def rounding(graph: Path, path: Path) -> Path:
    """The graph as ONNX Runtime must be given it so that it rounds to 16 bits wherever the graph says so."""
    ir.save(stand_in(ir.load(graph), ir.DataType.FLOAT16), path)
    return path


def build_apart(graph: Path, engine: Path) -> tuple[int | None, str]:
    """In a process of its own, which the builder may crash."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(build, graph, engine).result()
        except BrokenProcessPool:
            return None, "the builder crashed"


def build(graph: Path, engine: Path) -> tuple[int | None, str]:
    """Parse and build with TensorRT-RTX; the engine's size, or the message that refuses the graph."""
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.tensorrt import session
    from enginesmith.converters.backends.tensorrt.product import RTX

    parsed = session.parse(session.builder_session(RTX), graph)
    config = session.config_for(parsed, {}, TARGET)
    made = None if parsed.errors else session.build(parsed, config)
    if made is None:
        refused = get_backend("tensorrt-rtx").trial(graph, TARGET, {}, {})
        # what follows is that there is no GPU here, which parser and builder don't need
        reason = f"{refused.op}: {refused.message}".partition(" [checkMacros.cpp")[0] if refused else "no reason given"
        return None, f"refused by TensorRT-RTX: {reason}"
    engine.write_bytes(memoryview(made))
    return engine.stat().st_size, ""


def environment(folder: Path) -> Path:
    """The Python of the peers' environment, made on the first request."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"installing {', '.join(PEERS)} into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEERS], check=True)
        (folder / "ready").touch()
    return python


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    threads = {"OMP_NUM_THREADS": "1"}
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=os.environ | threads)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"took more than {LIMIT:.0f} s")


def last_line(ran: subprocess.CompletedProcess[str]) -> str:
    said = [text.strip() for text in (ran.stderr + ran.stdout).splitlines() if text.strip()]
    return said[-1] if said else f"exit {ran.returncode}"


def line(row: Row) -> str:
    loss = f"{row.before:.4f} to {row.after:.4f}" if row.before is not None and row.after is not None else ""
    size = f"{row.engine / 1e6:.1f} MB" if row.engine else "no engine"
    return f"{row.model} | {row.tool} | {row.metric} {loss} | {size} | {row.seconds or 0:.0f} s | {row.remark}"


def table(rows: list[Row]) -> Iterator[str]:
    yield "| model | tool | metric, before to after | TensorRT-RTX engine | conversion | |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        yield f"| {line(row)} |"


if __name__ == "__main__":
    main()
