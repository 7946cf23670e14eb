"""ONNX to a simpler ONNX: onnxsim, else onnxslim, else the graph as it was; each try in a process with limits."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from enginesmith.converters.graph import describe
from enginesmith.converters.records import Attempt
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage

TOOLS = {
    # through their Python APIs: both command lines print tables and exit 0 on some failures
    "onnxsim": (
        "import sys, onnx, onnxsim; "
        "model, good = onnxsim.simplify(sys.argv[1]); "
        "assert good, 'the simplified model is not equivalent by its own check'; "
        "onnx.save(model, sys.argv[2], **{extra})"
    ),
    "onnxslim": "import sys, onnx, onnxslim; onnx.save(onnxslim.slim(sys.argv[1]), sys.argv[2], **{extra})",
}
EXTERNAL = f"dict(save_as_external_data=True, location={MODEL + '.data'!r}, size_threshold=1024)"


class SimplifyOptions(Options):
    """Limits of one try: `seconds` of wall time, `memory` in bytes of address space."""

    seconds: float = 300.0
    memory: int = 16 * 2**30


class Simplify(Stage[SimplifyOptions]):
    """Folds constants and removes what has no effect. A result with a new operator domain is thrown away: onnxsim can
    fuse nodes into ONNX Runtime's private operators, which other backends refuse."""

    name = "simplify"
    options = SimplifyOptions
    packages = ("onnx", "onnxsim", "onnxslim")

    def run(self, inputs: Mapping[str, Path], options: SimplifyOptions, context: Context) -> Facts:
        source = inputs["model"] / MODEL
        before = describe(source)
        attempts = []
        for tool in TOOLS:
            context.progress(tool)
            started = time.monotonic()
            error = _attempt(tool, source, context.out / MODEL, options)
            after = None if error else describe(context.out / MODEL)
            if after is not None and (new := _domains(after) - _domains(before)):
                error = f"the result uses the operator domain {', '.join(sorted(new))}, which the model did not"
            attempts.append(Attempt(tool=tool, seconds=round(time.monotonic() - started, 2), error=error))
            if after is not None and not error:
                return after.model_copy(
                    update={"attempts": attempts, "note": f"{tool}, {before.nodes} to {after.nodes} nodes"}
                )
            for path in context.out.iterdir():
                path.unlink()
        for path in inputs["model"].glob(f"{MODEL}*"):
            shutil.copyfile(path, context.out / path.name)
        warning = "no simplifier took the graph; it goes on as it was"
        context.warn(warning)
        return before.model_copy(update={"attempts": attempts, "warnings": [warning], "note": "unsimplified"})


def _attempt(tool: str, source: Path, target: Path, options: SimplifyOptions) -> str:
    """Run a tool; returns its error, empty on success."""
    external = len(list(source.parent.glob(f"{MODEL}.*"))) > 0
    code = TOOLS[tool].replace("{extra}", EXTERNAL if external else "{}")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))

    try:
        # Linux forks after the limits are set, so that this worker keeps its own
        done = subprocess.run(
            [sys.executable, "-c", code, str(source), str(target)],
            capture_output=True,
            text=True,
            timeout=options.seconds,
            preexec_fn=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {options.seconds:.0f} s"
    print(done.stdout, done.stderr, sep="")
    if done.returncode < 0:
        return f"it crashed (signal {-done.returncode})"
    if done.returncode or not target.exists():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1][:500] if lines else f"exit status {done.returncode}"
    return ""


def _domains(facts: Facts) -> set[str]:
    return {op.rpartition(".")[0] for op in facts.ops if "." in op}
