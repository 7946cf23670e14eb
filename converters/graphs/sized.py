"""A graph with the sizes that were asked for written into it, proved against the graph as it was given."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.inputs import written
from enginesmith.converters.core.samples import Array, Feed, SampleSet
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.comparison import reason
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.tolerances import TOLERANCES

Sizes = Mapping[str, Sequence[int | None]]
"""Of inputs, None for those that stay as they are."""


@dataclass
class Given:
    """The graph as it was given, and beside it the one that goes on, which is the same where there was nothing to write."""

    path: Path
    out: Path
    sizes: Sizes
    note: str = ""
    warnings: list[str] = field(default_factory=list)

    def check(self, samples: SampleSet, feeds: Sequence[Feed], results: Sequence[dict[str, Array]]) -> None:
        """Run what was written beside the `results` of the graph as given, on the ordinary samples. What differs is written
        once more without anything computed in advance. Raises ConversionError where that differs too.
        """
        if self.path == self.out:
            return
        if difference := self._difference(samples, feeds, results):
            write_sized(self.path, self.out, self.sizes, folded=False)
            self.warnings.append(f"constants were left as they are: computed in advance, {difference}")
            if difference := self._difference(samples, feeds, results):
                raise ConversionError(f"the graph with these sizes written into it {difference}")

    def _difference(self, samples: SampleSet, feeds: Sequence[Feed], results: Sequence[dict[str, Array]]) -> str:
        from polygraphy.comparator import IterationResult

        session = onnxruntime.session(self.out, optimize=False)
        names = [output.name for output in session.get_outputs()]
        compared = [
            compare_outputs(
                samples.task,
                samples.samples[place],
                feeds[place],
                IterationResult(outputs=expected, runtime=0.0, runner_name="given"),
                IterationResult(
                    outputs=dict(zip(names, session.run(None, dict(feeds[place])), strict=True)),
                    runtime=0.0,
                    runner_name="written",
                ),
                TOLERANCES["fp32"],
            )
            for place, expected in zip(samples.ordinary(), results, strict=True)
        ]
        return "" if all(each.passed for each in compared) else f"gives other outputs: {reason(compared)}"


def write(model: Path, scratch: Path, sizes: Sizes) -> Given:
    """Write sizes of inputs into the graph at `model`, and correct what it declares wrongly. The graph as it was is kept in
    `scratch` where anything had to be changed.
    """
    import onnx_ir as ir

    from enginesmith.compat.sizes import restate

    wrong = restate(ir.load(model))
    if not sizes and not wrong:
        return Given(model, model, sizes)
    kept = scratch / "given"
    kept.mkdir()
    for file in model.parent.glob(f"{model.name}*"):
        shutil.move(file, kept / file.name)
    write_sized(kept / model.name, model, sizes)
    shapes = {info.name: info.shape for info in describe(model).inputs if info.name in sizes}
    return Given(
        kept / model.name,
        model,
        sizes,
        note=f"{written(shapes)} written into the graph" if sizes else "",
        warnings=[f"the shape that is declared for {', '.join(wrong)} contradicts the graph: corrected"]
        if wrong
        else [],
    )


def write_sized(given: Path, out: Path, sizes: Sizes, *, folded: bool = True) -> None:
    """Write the graph in the file `given` as `out`: as `write` does, without keeping anything and without proof."""
    import onnx_ir as ir

    from enginesmith.compat.saving import save
    from enginesmith.compat.sizes import restate, write_sizes

    model = ir.load(given)
    restate(model)
    if sizes:
        write_sizes(model, sizes, folded=folded)
    save(model, out)
