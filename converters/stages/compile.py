"""ONNX to an engine, by a backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest, Profile
from enginesmith.converters.backends.profile import profile_of
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.inputs import listed_shapes, written
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.records import EngineInfo
from enginesmith.converters.core.samples import SAMPLES, SampleSet
from enginesmith.converters.core.stage import SCHEDULES, Context, Stage, accepted
from enginesmith.converters.graphs import interface
from enginesmith.converters.graphs.products import shortfall

if TYPE_CHECKING:
    from enginesmith.converters.graphs.sparsity import Sparsity


class CompileOptions(Options):
    backend: str
    target: str
    sparse: bool = False
    """The weights are meant to be 2:4 sparse."""
    kernels: bool = True
    """Kernels of our own, which TVM modules can do without."""
    winograd: bool = True
    """Winograd's among them."""


class CompileFacts(Facts):
    engine: EngineInfo


class Compile(Stage[CompileOptions]):
    """The artifact is the engine, with what its backend needs to run it beside it."""

    name = "compile"
    options = CompileOptions
    facts = CompileFacts
    without_torch = True

    def packages_of(self, options: CompileOptions) -> tuple[str, ...]:
        return get_backend(options.backend).packages

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        backend, target = so_far.branch.backend, so_far.branch.target
        options = CompileOptions(
            backend=backend, target=target, sparse=recipe.sparse, kernels=recipe.kernels, winograd=recipe.winograd
        )
        needs = so_far.needs("model", "samples", "checked", "tuned")
        id = f"{self.name} {so_far.branch.name}"
        yield PlannedStage(id, self.name, options, needs=needs, backend=backend, target=target)
        so_far.roles |= {"engine": id, "product": id}

    def run(self, inputs: Mapping[str, Path], options: CompileOptions, context: Context) -> CompileFacts:
        samples = SampleSet.model_validate_json((inputs["samples"] / SAMPLES).read_bytes())
        request = BuildRequest(
            onnx=accepted(inputs),
            target=options.target,
            profile=profile_of(samples.specs),
            out=context.out,
            shapes=listed_shapes(samples.specs),
            cache=context.cache,
            sparse=options.sparse,
            kernels=options.kernels,
            winograd=options.winograd,
            schedules=inputs["tuned"] / SCHEDULES if "tuned" in inputs else None,
        )
        backend = get_backend(options.backend)
        zeros = _sparsity(request.onnx) if options.sparse else None
        engine = backend.build(request, context)
        warnings = [f"the graph's {change}" for change in interface.save(request.onnx, context.out)]
        if lacking := shortfall(engine.products_asked, engine.products_built):
            warnings.append(f"{options.backend}: {lacking}; the report's layers say what the others are")
        if request.profile and not request.shapes and not backend.dynamic_shapes:
            optimum = written({name: shape for name, (_, shape, _) in request.profile.items()})
            warnings.append(
                f"{options.backend} builds static shapes: this engine takes {optimum} alone; "
                f"list the shapes that you need, such as SHAPE='{_example(request.profile)}'"
            )
        if zeros is not None:
            engine.details["sparsity"] = zeros.told
            if backend.sparse_kernels(options.target):
                engine.details["sparsity"] += (
                    "; which of them have sparse kernels, the builder doesn't say without a GPU"
                )
            else:
                warnings.append(
                    f"{options.backend} has no sparse kernels for {options.target}: zeros are multiplied too"
                )
        for warning in warnings:
            context.warn(warning)
        return CompileFacts(
            engine=engine, warnings=warnings, note=f"{engine.layers} layers, {engine.size / 1e6:.1f} MB"
        )


def _example(profile: Profile) -> str:
    """The optimum and the maximum, as a list of shapes."""
    optimum, maximum = ({name: shapes[place] for name, shapes in profile.items()} for place in (1, 2))
    return f"{written(optimum)} {written(maximum)}".replace(" ", ",")


def _sparsity(onnx: Path) -> Sparsity:
    """Raises ConversionError where no product is sparse."""
    from enginesmith.converters.graphs.sparsity import sparsity

    found = sparsity(onnx)
    if not found.sparse:
        raise ConversionError(
            f"asked for sparse weights, and 0 of {len(found.dense)} products with weights are 2:4 sparse in the graph",
            "prune the PyTorch model (--sparse with --finetune), or leave --sparse out",
        )
    return found
