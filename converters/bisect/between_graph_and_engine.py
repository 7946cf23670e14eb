"""An ONNX graph against the engine that a backend makes of it, by bisection: a tensor inside a compiled module can only be
seen when it is an output, and then less is fused around it. So few are marked at a time, on ever shorter beginnings of the
graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from enginesmith.converters.bisect import files
from enginesmith.converters.bisect.divergence import Divergence, Figures, layers_of, measure, worst_of
from enginesmith.converters.bisect.oracles import run_engine, run_onnxruntime
from enginesmith.converters.bisect.search import fix_sizes
from enginesmith.converters.bisect.surgery import prune, used_by
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.isolated import FAILED, Isolated
from enginesmith.converters.core.samples import SampleSet

COMPARE = f"{__name__}:compare_outputs"
CUTS = 8
"""Places looked at in one compilation: a graph of n nodes takes log(n) / log(8) of them."""


def compare_outputs(
    path: str,
    samples: str,
    indices: Sequence[int],
    backend: str,
    target: str,
    scale: float,
    relative: float,
    settings: Mapping[str, bool],
) -> dict[str, dict[str, float]]:
    """`Figures` of every output of a static graph, a backend against ONNX Runtime. Runs in an `Isolated` process."""
    _, feeds = SampleSet.load(Path(samples))
    graph = onnx.load(path, load_external_data=False).graph
    names = [value.name for value in graph.output]
    inputs = {value.name for value in graph.input}
    rows = []
    for index in indices:
        feed = {name: array for name, array in feeds[index].items() if name in inputs}
        engine = run_engine(backend, Path(path), feed, target, settings)
        both = zip(names, run_onnxruntime(Path(path), feed), engine, strict=True)
        rows.append({name: measure(a, b, scale, relative) for name, a, b in both})
    return {name: figures.model_dump() for name, figures in worst_of(rows).items()}


def search(
    model: Path,
    samples: Path,
    indices: Sequence[int],
    backend: str,
    target: str,
    folder: Path,
    *,
    scale: float,
    relative: float,
    settings: Mapping[str, bool] | None = None,
    timeout: float,
    listen: Callable[[str], None] = lambda text: None,
) -> Divergence:
    """The first tensor of the graph at `model` that the backend computes otherwise. `folder` is for shorter graphs; `settings`
    are fields of a BuildRequest, `timeout` is in seconds, for one compilation."""
    names, _ = SampleSet.load(samples)
    whole = files.read(model)
    whole = fix_sizes(whole, names.specs, needed=True) or whole
    figures: dict[str, Figures] = {}
    notes: list[str] = []
    barriers: list[str] = []

    def differing(places: Sequence[int]) -> list[int]:
        """Those of the places behind which a tensor that is still needed differs."""
        listen(f"compiling {places[-1]} of {len(whole.graph)} nodes")
        path = folder / "beginning.onnx"
        files.write(beginning(whole, places), path)
        arguments = (str(samples), list(indices), backend, target, scale, relative, dict(settings or {}))
        answer = isolated.call(COMPARE, str(path), *arguments, timeout=timeout)
        measured = {name: Figures.model_validate(found) for name, found in answer.items()}
        figures.update({name: each.worst(figures.get(name)) for name, each in measured.items()})
        return [p for p in places if any(measured[name].excess > 1 for name in live(whole, p) if name in measured)]

    with Isolated(without_torch=True) as isolated:
        low, high = 0, len(whole.graph)
        try:
            # behind `low` all agrees, behind `high` something differs
            while high and (high - low > 1 or not figures):
                step = max(1, -(-(high - low) // (CUTS if figures else 1)))
                places = [*range(low + step, high, step), high]
                first = not figures
                bad = differing(places)
                if not bad:
                    if not first:
                        barriers = list(dict.fromkeys(name for place in places for name in live(whole, place)))
                        notes.append(
                            f"between nodes {low} and {high} the difference goes away when the engine has to show the tensors "
                            "in between: it comes from kernels that are fused otherwise"
                        )
                    break
                low, high = max([low, *(p for p in places if p < bad[0])]), bad[0]
        except (*FAILED, UserError) as error:
            notes.append(f"the search ended between nodes {low} and {high}: {error}")
    return Divergence(
        expected="",
        found="",
        tolerance_scale=scale,
        tolerance_relative=relative,
        samples=[names.samples[index].name for index in indices],
        layers=layers_of(whole, figures, {}),
        notes=notes,
        barriers=barriers,
    )


def live(model: ir.Model, place: int) -> list[str]:
    """Tensors of the first `place` nodes that a later node takes, or that are outputs."""
    nodes = list(model.graph)
    needed = used_by(nodes[place:]) | set(model.graph.outputs)
    return [str(value.name) for node in nodes[:place] for value in node.outputs if value in needed]


def beginning(model: ir.Model, places: Sequence[int]) -> ir.Model:
    """The first nodes up to the last of the places, with what is live behind each place as an output."""
    wanted = {name for place in places for name in live(model, place)}
    changed = model.clone()
    nodes = list(changed.graph)
    kept = nodes[: places[-1]]
    changed.graph.outputs.clear()
    changed.graph.outputs.extend(value for node in kept for value in node.outputs if value.name in wanted)
    changed.graph.remove(nodes[places[-1] :])
    prune(changed)
    return changed
