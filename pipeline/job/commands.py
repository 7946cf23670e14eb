"""What one would type instead: the command lines of trtexec and Polygraphy that are equal to a build's stages."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.profile import profile_of
from enginesmith.converters.backends.tensorrt.backend import TensorRTBackend
from enginesmith.converters.core.facts import ComparedFacts
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.records import OutputDifference
from enginesmith.converters.core.samples import INPUTS, SAMPLES, SampleSet
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.graphs import interface
from enginesmith.pipeline.job.manifest import Manifest, StageRecord
from enginesmith.pipeline.job.store import Store

RTX = "tensorrt-rtx"
RTX_TOOL = "tensorrt_rtx"
"""Its trtexec."""


def command_lines(manifest: Manifest, folder: Path, store: Store) -> Iterator[str]:
    """Lines for a shell, and remarks that begin with #. They read the build's own graphs, samples and timing cache, and write
    into the working folder. `folder` is the build's.
    """
    origin = next((stage for stage in manifest.stages if stage.stage in ("export", "import")), None)
    if origin is None or not origin.made or not (folder / MODEL).is_file():
        yield "# no graph was exported: there is nothing that trtexec or polygraphy could read"
        return
    samples = store.files(origin.key)
    specs = SampleSet.model_validate_json((samples / SAMPLES).read_bytes()).specs
    tolerances = _tolerances(manifest)
    for stage in manifest.stages:
        if stage.stage != "compile":
            continue
        branch = folder / f"{stage.backend}_{stage.target}"
        graph = branch / MODEL if (branch / MODEL).is_file() else folder / MODEL
        inputs = ["--load-inputs", str(samples / INPUTS)]
        yield f"# {stage.id}"
        if (branch / interface.FILE).is_file():
            yield "# a repair changed the types of inputs or outputs: the build's samples don't fit, random ones are taken"
            inputs = []
        backend = get_backend(stage.backend)
        if isinstance(backend, TensorRTBackend):
            yield from _tensorrt(
                backend, stage, graph, specs, bool(manifest.recipe.get("sparse")), store, inputs, tolerances
            )
        else:
            yield f"# {stage.backend} has no command line of its own; this runs the graph that it was given"
            yield shlex.join(["polygraphy", "run", str(graph), "--onnxrt", *inputs])


def _tensorrt(
    backend: TensorRTBackend,
    stage: StageRecord,
    graph: Path,
    specs: Sequence[InputSpec],
    sparse: bool,
    store: Store,
    inputs: Sequence[str],
    tolerances: Sequence[str],
) -> Iterator[str]:
    """An engine from trtexec, the same from Polygraphy, and the comparison with ONNX Runtime. The precision is in the graph,
    which TensorRT is told to keep to; TensorRT-RTX knows nothing else.
    """
    rtx = backend.name == RTX
    plan = f"{stage.backend}_{stage.target}.plan"
    trtexec, polygraphy, target = [], [], []
    profile = dict(profile_of(specs))
    for place, kind in enumerate(("min", "opt", "max") if profile else ()):
        shapes = {name: sides[place] for name, sides in profile.items()}
        trtexec.append(f"--{kind}Shapes={','.join(f'{name}:{_shape(shape)}' for name, shape in shapes.items())}")
        polygraphy.append(f"--trt-{kind}-shapes")
        polygraphy += [f"{name}:[{','.join(map(str, shape))}]" for name, shape in shapes.items()]
    if sparse:
        trtexec.append("--sparsity=enable")
        polygraphy.append("--sparse-weights")
    if rtx:
        capability = stage.target.removeprefix("sm_")
        trtexec.append(f"--computeCapabilities={capability}")
        target = ["--compute-capabilities", f"{capability[:-1]}.{capability[-1]}"]
    else:
        yield f"# TensorRT builds for the GPU of the machine: on one with {stage.target}"
        trtexec.append("--stronglyTyped")
        polygraphy.append("--strongly-typed")
    cache = backend.timing_cache(store.timing(stage.stage, stage.backend), stage.target)
    if cache is not None:
        trtexec.append(f"--timingCacheFile={cache}")
        polygraphy += ["--load-timing-cache", str(cache)]
    tool = [*(["POLYGRAPHY_USE_TENSORRT_RTX=1"] if rtx else []), "polygraphy"]
    yield shlex.join(
        [RTX_TOOL if rtx else "trtexec", f"--onnx={graph}", f"--saveEngine={plan}", *trtexec, "--skipInference"]
    )
    yield shlex.join([*tool, "convert", str(graph), "--convert-to", "trt", "--output", plan, *target, *polygraphy])
    yield shlex.join([*tool, "run", str(graph), "--trt", "--onnxrt", *polygraphy, *inputs, *tolerances])


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _tolerances(manifest: Manifest) -> list[str]:
    """Of the build's last comparison of tensors: the largest that held for each output on any sample."""
    compared = [facts.comparison for _, facts in manifest.told(ComparedFacts) if facts.comparison]
    worst: dict[str, OutputDifference] = {}
    for comparison in reversed(compared):
        for output in (each for sample in comparison.samples for each in sample.outputs):
            if output.name not in worst or output.tolerance_abs > worst[output.name].tolerance_abs:
                worst[output.name] = output
        if worst:
            break
    if not worst:
        return []
    absolute: Mapping[str, str] = {name: f"{name}:{output.tolerance_abs:.3g}" for name, output in worst.items()}
    return ["--atol", *absolute.values(), "--rtol", f"{next(iter(worst.values())).tolerance_rel:g}"]
