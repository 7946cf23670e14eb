"""A second witness beside ONNX Runtime, where that is the only reference: it can be wrong too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.limited import Running, run_python, started_python
from enginesmith.converters.core.samples import Array, SampleSet
from enginesmith.converters.graphs.describe import all_nodes
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.evaluator import EVALUATE, LOCATE, READY, WRONG_OPERATORS, read_outputs
from enginesmith.converters.graphs.rounding import Alone
from enginesmith.converters.graphs.tolerances import TOLERANCES

SECONDS = 3.0
"""Of the processor's time for the evaluator, once the samples are there."""
PATIENCE = 20.0
"""Seconds by the clock for them: a busy machine is no reason not to hear it."""
SEARCH_SECONDS = 20.0
"""For finding the node where the two disagree."""
SLOWER = 30
"""The evaluator takes so many times as long as ONNX Runtime, or more: where the first sample can't be done in time, it isn't asked."""
MEMORY = 8 << 30
"""Bytes of its address space."""
LARGE = 64 << 20
"""Bytes of a model's weights; more, and it isn't asked."""
TOLERANCE = replace(TOLERANCES["fp32"], floor=None)
"""The evaluator computes in float64 now and then: beside what rounding does to it, what holds where that isn't known."""


@dataclass
class Testimony:
    """What the evaluator says. Both lists have a dict of outputs for each sample, empty where there is nothing to say."""

    exact: list[dict[str, Array]]
    """In float64, where it agrees with the reference."""
    contrary: list[dict[str, Array]]
    """As it has them, where it contradicts the reference."""
    heard: int = 0
    """Samples on which it was heard."""
    disputes: list[str] = field(default_factory=list)
    """The outputs on which they disagree, and the node, in words."""
    doubted: bool = False
    """They disagree on ordinary samples too, and not on probes alone, where either may be right."""

    @property
    def note(self) -> str:
        if not self.heard:
            return "no second witness: the graph is too large for onnx's evaluator, or it lacks an operator"
        return f"a second witness heard on {self.heard} of {len(self.exact)} samples"


class Witness:
    """The evaluator at work, beside this process."""

    def __init__(self, model: Path, samples: Path, scratch: Path, running: Running | None) -> None:
        self._model, self._samples, self._scratch = model, samples, scratch
        self._running = running

    def hear(self, results: Sequence[dict[str, Array]], pace: float) -> Testimony:
        """Hold the reference's `results` on the samples, which are in their folder by now, against what the evaluator comes to.
        `pace` is how many seconds the reference takes for one.
        """
        told = Testimony([{} for _ in results], [{} for _ in results])
        if self._running is None or SLOWER * pace > SECONDS:
            return told
        (self._scratch / READY).touch()
        print(self._running.wait(PATIENCE, SECONDS).output)
        sample_set, feeds = SampleSet.load(self._samples)
        disputed: dict[str, list[int]] = {}
        for index, own in enumerate(results):
            other = read_outputs(self._scratch, index, list(own))
            if not other:
                continue
            told.heard += 1
            exact = read_outputs(self._scratch, index, list(own), ".exact")
            alone = Alone(_result(other), _result(exact)) if exact else None
            try:
                compared = compare_outputs(
                    "tensor", sample_set.samples[index], feeds[index], _result(other), _result(own),
                    TOLERANCE, alone,
                )  # fmt: skip
                agreed = {output.name for output in compared.outputs if output.passed}
            except ConversionError:  # another shape
                agreed = set()
            told.exact[index] = {name: array.astype(own[name].dtype) for name, array in exact.items() if name in agreed}
            told.contrary[index] = {name: array for name, array in other.items() if name not in agreed}
            for name in told.contrary[index]:
                disputed.setdefault(name, []).append(index)
        nodes = {index: self._nodes(index) for index in {indices[0] for indices in disputed.values()}}
        for name, indices in disputed.items():
            if nodes[indices[0]]:
                told.doubted |= not all(sample_set.samples[index].probe for index in indices)
                where = ", ".join(f"{op} {node!r}" for node, op in nodes[indices[0]][:3])
                told.disputes.append(
                    f"ONNX Runtime and onnx's reference evaluator disagree on output {name}, at {where}: which is right isn't known"
                )
        if not told.disputes:
            told.contrary = [{} for _ in results]
        return told

    def _nodes(self, index: int) -> list[tuple[str, str]]:
        """Where the two disagree on the same inputs, unless the evaluator is known to be wrong there; none where rounding has
        grown on the way."""
        arguments = [str(self._model), str(self._samples), str(index)]
        ended = run_python(LOCATE, arguments, SEARCH_SECONDS, MEMORY)
        print(ended.output)
        lines = [line for line in ended.output.splitlines() if line.startswith("[")]
        if lines:  # a process that took too long to end has said it all the same
            return [(node, op) for node, op in json.loads(lines[-1]) if op not in WRONG_OPERATORS]
        return [] if self._has_wrong_operators() else [("in time", "a node that was not found")]

    def _has_wrong_operators(self) -> bool:
        import onnx

        model = onnx.load(str(self._model), load_external_data=False)
        return any(node.op_type in WRONG_OPERATORS for node in all_nodes(model))


@contextmanager
def second_witness(model: Path, samples: Path, scratch: Path) -> Iterator[Witness]:
    """Start the evaluator on a graph, unless that is too large for it. The samples needn't be there yet."""
    size = sum(file.stat().st_size for file in model.parent.glob(f"{model.name}*"))
    if size > LARGE:
        yield Witness(model, samples, scratch, None)
        return
    with started_python(EVALUATE, [str(model), str(samples), str(scratch)], MEMORY) as running:
        yield Witness(model, samples, scratch, running)


def _result(outputs: dict[str, Array]):  # type: ignore[no-untyped-def]
    from polygraphy.comparator import IterationResult

    return IterationResult(outputs=outputs, runtime=0.0, runner_name="")
