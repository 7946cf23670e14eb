"""What one would type instead: the command lines of trtexec and Polygraphy that are equal to a build's stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.profile import profile_of, values_of
from enginesmith.converters.core.builder_options import BuilderOptions
from enginesmith.converters.core.comparisons import OutputDifference
from enginesmith.converters.core.facts import ComparedFacts
from enginesmith.converters.core.samples import INPUTS, SAMPLES, SampleSet
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.graphs import interface
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.job.store import Store


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
        request = BuildRequest(
            onnx=branch / MODEL if (branch / MODEL).is_file() else folder / MODEL,
            target=stage.target,
            profile=profile_of(specs),
            values=values_of(specs),
            out=folder,
            cache=store.timing(stage.stage, stage.backend),
            sparse=bool(manifest.recipe.get("sparse")),
            builder=BuilderOptions.recorded(manifest.recipe),
        )
        inputs = ["--load-inputs", str(samples / INPUTS)]
        yield f"# {stage.id}"
        if (branch / interface.FILE).is_file():
            yield "# a repair changed the types of inputs or outputs: the build's samples don't fit, random ones are taken"
            inputs = []
        yield from get_backend(stage.backend).command_lines(request, inputs, tolerances)


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
    absolute = [f"{name}:{output.tolerance_abs:.3g}" for name, output in worst.items()]
    return ["--atol", *absolute, "--rtol", f"{next(iter(worst.values())).tolerance_rel:g}"]
