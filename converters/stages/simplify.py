"""ONNX to a simpler ONNX: onnxsim, else onnxslim, else the graph as it was; each try in a process with limits.

A simplified graph that differs is no simplification: each is run beside its input before it is taken.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import first_line
from enginesmith.converters.core.facts import GraphFacts
from enginesmith.converters.core.limited import run_python
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import FP32, Recipe
from enginesmith.converters.core.records import Attempt
from enginesmith.converters.core.samples import Feed, SampleSet
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.comparison import reason
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.tolerances import tolerance_of

if TYPE_CHECKING:
    from polygraphy.comparator import IterationResult

TOOLS = {
    # through their Python APIs: both command lines print tables and exit 0 on some failures; without torch, which onnxsim
    # imports if it can
    "onnxsim": (
        "import sys; sys.modules['torch'] = None; import onnx, onnxsim; "
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
    fuse nodes into ONNX Runtime's private operators, which other backends refuse. So is one that gives other outputs."""

    name = "simplify"
    options = SimplifyOptions
    facts = GraphFacts
    packages = ("onnx", "onnxsim", "onnxslim", "onnxruntime", "onnxruntime-gpu", "polygraphy")
    without_torch = True

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        if not recipe.simplify:
            return
        yield PlannedStage(
            self.name, self.name, SimplifyOptions(), needs=so_far.needs("model", "samples"), after=so_far.after
        )
        so_far.roles |= {"model": self.name, "product": self.name}

    def run(self, inputs: Mapping[str, Path], options: SimplifyOptions, context: Context) -> GraphFacts:
        source = inputs["model"] / MODEL
        before = describe(source)
        samples, feeds = SampleSet.load(inputs["samples"])
        expected = None
        attempts = []
        for tool in TOOLS:
            context.progress(tool)
            started = time.monotonic()
            error = _attempt(tool, source, context.out / MODEL, options)
            if not error:
                if expected is None:  # only now: ONNX Runtime's threads would bar the fork
                    expected = _outputs(source, feeds[0])
                try:
                    after = describe(context.out / MODEL)
                    error = _fault(before, after) or _difference(samples, feeds[0], expected, context.out / MODEL)
                except Exception as caught:  # noqa: BLE001 - a broken graph, which onnx or ONNX Runtime refuses in its own way
                    traceback.print_exc()
                    error = f"the result can't be used: {first_line(caught)}"
            attempts.append(Attempt(tool=tool, seconds=round(time.monotonic() - started, 2), error=error))
            if not error:
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

    status, output = run_python(code, [str(source), str(target)], options.seconds, options.memory)
    print(output, end="")
    if status is None:
        return f"stopped after {options.seconds:.0f} s"
    if status < 0:
        return f"it crashed (signal {-status})"
    if status or not target.exists():
        lines = [line for line in output.splitlines() if line.strip()]
        return lines[-1][:500] if lines else f"exit status {status}"
    return ""


def _fault(before: GraphFacts, after: GraphFacts) -> str:
    """What is wrong with a result on the face of it."""
    if new := _domains(after) - _domains(before):
        return f"the result uses the operator domain {', '.join(sorted(new))}, which the model did not"
    if after.inputs != before.inputs:
        return "the result has other inputs than the model"
    return ""


def _outputs(model: Path, feed: Feed) -> IterationResult:
    from polygraphy.comparator import IterationResult

    session = onnxruntime.session(model)
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, dict(feed)), strict=True))
    return IterationResult(outputs=outputs, runtime=0.0, runner_name=model.parent.name)


def _difference(samples: SampleSet, feed: Feed, expected: IterationResult, result: Path) -> str:
    """How the result's outputs differ from the model's, beyond rounding; empty when they don't."""
    compared = compare_outputs(
        samples.task, samples.samples[0], feed, expected, _outputs(result, feed), tolerance_of(FP32, samples.own)
    )
    return "" if compared.passed else f"the result gives other outputs than the model: {reason([compared])}"


def _domains(facts: GraphFacts) -> set[str]:
    return {op.rpartition(".")[0] for op in facts.ops if "." in op}
