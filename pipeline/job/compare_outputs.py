"""Two sides on the same samples: each runs in a process of its own, and their results are held against each other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from enginesmith.converters.backends import get_backend
from enginesmith.converters.bisect.sides import JUDGE, RUN, SAMPLES
from enginesmith.converters.core.comparisons import Comparison, SelfCheck
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.isolated import FAILED, Isolated
from enginesmith.converters.core.samples import SAMPLES as SAMPLES_FILE
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.converters.graphs.self_checks import note_contradictions
from enginesmith.pipeline.job.shapes import parse_shapes
from enginesmith.pipeline.job.trusted import blocked


@dataclass(frozen=True)
class Form:
    """Something that gives outputs: a graph (`backend` is `onnxruntime`) or an engine. `file` is None where a manifest is all
    that is there."""

    name: str
    backend: str
    target: str
    file: Path | None
    trust: bool = False
    graph: Path | None = None
    """The graph that it stands for, which is asked where its answers contradict each other."""

    @property
    def blocked(self) -> str:
        """Why it can't run here; empty where it can."""
        if self.file is None or not self.file.is_file():
            return "its file is not here"
        if self.backend == ONNXRUNTIME:
            return ""
        return blocked(self.backend, self.target, self.file, self.trust)

    @property
    def every_shape(self) -> bool:
        return self.backend == ONNXRUNTIME or get_backend(self.backend).dynamic_shapes


@dataclass(frozen=True)
class Pair:
    """`precision` is the coarser one, whose tolerances hold."""

    a: Form
    b: Form
    precision: str


@contextmanager
def samples_for(
    found: Path | None, graph: Path | None, shape: str | None, task: str, timeout: float
) -> Iterator[Path | None]:
    """The folder of samples: those of a build, or made up for the graph; None where there is neither.

    Raises UserError where the graph's dynamic inputs need a shape.
    """
    if found is not None or graph is None:
        yield found
        return
    given = [spec.model_dump() for spec in (parse_shapes(shape) if shape else ())]
    with tempfile.TemporaryDirectory(prefix="enginesmith-samples-") as folder:
        with Isolated(without_torch=True) as process:
            process.call(SAMPLES, str(graph), given, task, folder, timeout=timeout)
        yield Path(folder)


def compare_outputs(
    pairs: Sequence[Pair], samples: Path, timeout: float, listen: Callable[[str], None]
) -> Iterator[Comparison]:
    """A verdict for each pair. A side that breaks down where the other one runs has failed."""
    names = SampleSet.model_validate_json((samples / SAMPLES_FILE).read_bytes())
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enginesmith-compare-")))
        for number, pair in enumerate(pairs):
            blocked = [f"{form.name}: {form.blocked}" for form in (pair.a, pair.b) if form.blocked]
            if blocked:
                yield _not_run(pair, "; ".join(blocked))
                continue
            static = not (pair.a.every_shape and pair.b.every_shape)
            taken = [not static or each.optimum or each.listed for each in names.samples]
            indices = [index for index in names.held(pair.precision) if taken[index]]
            folders = [work / f"{number}{side}" for side in "ab"]
            broken, checks = [], list[SelfCheck]()
            for form, folder in zip((pair.a, pair.b), folders, strict=True):
                listen(f"running {form.name}")
                folder.mkdir()
                try:
                    with Isolated(without_torch=True) as process:
                        told = process.call(
                            RUN,
                            form.name,
                            form.backend,
                            str(form.file),
                            str(form.graph or ""),
                            str(samples),
                            indices,
                            pair.precision,
                            str(folder),
                            timeout=timeout,
                        )
                        checks += [SelfCheck.model_validate(each) for each in told]
                except FAILED as error:
                    broken.append(f"{form.name}: {error}")
            if len(broken) == 2:
                yield _not_run(pair, "; ".join(broken))
            elif broken:
                yield _not_run(pair, broken[0]).model_copy(update={"verdict": "fail"})
            else:
                comparison = _judged(pair, samples, indices, folders, timeout)
                note_contradictions(comparison, checks)
                yield comparison


def _judged(pair: Pair, samples: Path, indices: Sequence[int], folders: Sequence[Path], timeout: float) -> Comparison:
    before, after = map(str, folders)
    try:
        with Isolated(without_torch=True) as process:
            told = process.call(JUDGE, str(samples), indices, before, after, pair.precision, timeout=timeout)
    except ConversionError as error:  # outputs are gone, or of another shape
        return _not_run(pair, str(error)).model_copy(update={"verdict": "fail"})
    return Comparison.model_validate({**told, "expected": pair.a.name, "found": pair.b.name})


def _not_run(pair: Pair, reason: str) -> Comparison:
    return Comparison(expected=pair.a.name, found=pair.b.name, verdict="not run", reason=reason)
