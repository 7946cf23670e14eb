"""ONNX to an engine, by a backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from enginesmith.converters import interface
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.profile import profile_of
from enginesmith.converters.check import accepted
from enginesmith.converters.samples import SAMPLES, SampleSet
from enginesmith.converters.stage import Context, Facts, Options, Stage


class CompileOptions(Options):
    backend: str
    target: str


class Compile(Stage[CompileOptions]):
    """The artifact is the engine, with what its backend needs to run it beside it."""

    name = "compile"
    options = CompileOptions
    without_torch = True

    def packages_of(self, options: CompileOptions) -> tuple[str, ...]:
        return get_backend(options.backend).packages

    def run(self, inputs: Mapping[str, Path], options: CompileOptions, context: Context) -> Facts:
        samples = SampleSet.model_validate_json((inputs["samples"] / SAMPLES).read_bytes())
        request = BuildRequest(
            onnx=accepted(inputs),
            target=options.target,
            profile=profile_of(samples.specs),
            out=context.out,
            cache=context.cache,
        )
        backend = get_backend(options.backend)
        engine = backend.build(request, context)
        warnings = [f"the repaired graph's {change}" for change in interface.save(request.onnx, context.out)]
        if request.profile and not backend.dynamic_shapes:
            shapes = ", ".join(f"{name} {'x'.join(map(str, opt))}" for name, (_, opt, _) in request.profile.items())
            warnings.append(f"{options.backend} builds static shapes: this engine takes {shapes} alone")
        for warning in warnings:
            context.warn(warning)
        return Facts(engine=engine, warnings=warnings, note=f"{engine.layers} layers, {engine.size / 1e6:.1f} MB")
