"""TensorRT and TensorRT-RTX: one adapter, which takes the product's Python module.

TensorRT-RTX parses and builds on any machine, for the compute capability asked for. TensorRT builds for the GPU that it
runs on, so it needs one. Both run engines on a GPU only.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.compat.findings import Finding
from enginesmith.compat.platforms import Release
from enginesmith.compat.target import Target
from enginesmith.converters.backends.base import OBSERVED, Backend, BuildRequest, Profile, Rejection
from enginesmith.converters.backends.tensorrt.capabilities import not_built_for
from enginesmith.converters.backends.tensorrt.gpu import local_gpus
from enginesmith.converters.backends.tensorrt.options import refused
from enginesmith.converters.backends.tensorrt.product import DATACENTER, RTX, Product
from enginesmith.converters.backends.tensorrt.progress import watch
from enginesmith.converters.backends.tensorrt.session import (
    Network,
    Session,
    build,
    builder_session,
    config_for,
    load,
    missing,
    open_session,
    parse,
    steering_inputs,
)
from enginesmith.converters.core.builder_options import BuilderOptions
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.recipe import Rest
from enginesmith.converters.core.records import EngineInfo
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs.products import Products, products_of, shortfall

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

ENGINE = "engine.trt"
FIRST_BF16 = FIRST_SPARSE = 80
"""Compute capability from which a GPU has bfloat16, and tensor cores for sparse weights: Ampere's."""
NO_GPU = "no GPU"
ELSEWHERE = "build it there, or with --backend tensorrt where that version is installed"
NO_GPU_HERE = f"{NO_GPU} on this machine"
NO_GPU_TO_BUILD = f"{NO_GPU}: it builds only for the GPU of the machine"


class TensorRTBackend(Backend):
    """Builds TensorRT engines. One instance per product; a process may use one of them only."""

    engine_file = ENGINE
    gpu = True
    dynamic_shapes = True
    levels: tuple[Mapping[str, int], ...] = ({"level": 0},)
    rest: Rest = "fp16"

    def __init__(self, product: Product) -> None:
        self.product = product
        self.name = self.table = product.name
        self.packages = product.packages
        self.alone = not product.capabilities
        self.preload: tuple[str, ...] = (product.module, f"{__package__}.check")
        self.requirement = product.requirement

    def available(self) -> str | None:
        if reason := missing(self.product):
            return reason
        if not self.product.capabilities and not local_gpus():
            return NO_GPU_TO_BUILD
        return None

    def runnable(self, target: str) -> str | None:
        gpus = local_gpus()
        if not gpus:
            return NO_GPU
        if gpus[0].target != target:
            return f"built for {target}, and the GPU here is {gpus[0].target} ({gpus[0].name})"
        return missing(self.product)

    def resolve_target(self, target: str) -> str:
        """`sm_89` for any of `sm_89`, `SM89`, `sm89`, `8.9`.

        `native` is the GPU present; `auto` is that too, or the product's default where it can't be built for.
        """
        local = local_gpus()[0].target if local_gpus() else None
        known = self.product.capabilities or ((local,) if local else ())
        if target == "auto" and self.product.default:
            return local if local in known else self.product.default
        if not known:
            raise UserError(f"{self.name}: {NO_GPU_TO_BUILD}")
        if target in ("auto", "native"):
            if local not in known:
                what = (
                    f"the GPU here is {local} ({local_gpus()[0].name}), which it doesn't know" if local else NO_GPU_HERE
                )
                raise UserError(f"{self.name}: {what}; name a target: {', '.join(known)}")
            canonical = local
        else:
            canonical = re.sub(r"^(sm_?)?(\d+)\.?(\d)a?$", r"sm_\2\3", target.strip().lower())
        if canonical not in known:
            raise not_built_for(self.name, canonical, known)
        return canonical

    def lacks(self, precision: str, target: str) -> str:
        if precision == "bf16" and int(target.removeprefix("sm_")) < FIRST_BF16:
            return f"{self.name}: {target} has no bfloat16, which begins with sm_{FIRST_BF16}; ask for fp16"
        return ""

    def refuses(self, options: BuilderOptions) -> str:
        return refused(self.product, options)

    def unloadable(self, target: str, platform: str, release: Release) -> str:
        """A plan is loaded by the TensorRT of its own version only, and on the GPUs that the platform has."""
        if self.product is not DATACENTER:
            return (
                f"{platform} ships TensorRT {release.tensorrt}, which can't load an engine of {self.name}: {ELSEWHERE}"
            )
        if not Target(self.name, self.version()).within(f"=={release.tensorrt}"):
            return (
                f"{platform} ships TensorRT {release.tensorrt}, which can't load an engine of {self.version()}, the version "
                f"installed here: {ELSEWHERE}"
            )
        if not release.runs_on(divmod(int(target.removeprefix("sm_")), 10)):
            return f"{platform} runs on GPUs of compute capability {release.gpus}, and the engine is for {target}"
        return ""

    def cuttable(self, error: ConversionError) -> bool:
        """Myelin is its compiler of fused layers, which says so."""
        return "Myelin" in str(error)

    def sparse_kernels(self, target: str) -> bool:
        return int(target.removeprefix("sm_")) >= FIRST_SPARSE

    def check(self, request: BuildRequest, context: Context) -> list[Finding]:
        """Parse and build at the lowest optimization level; when that fails, probe the nodes one by one.

        Raises UserError where the profile does not fit the model.
        """
        from enginesmith.converters.backends.tensorrt.check import check

        return check(self._session(), self.rules(request.target), request, context)

    def parse(self, onnx: Path) -> Rejection | None:
        from enginesmith.converters.backends.tensorrt.check import rejected

        return rejected(self._session(), onnx)

    def trial(self, onnx: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]) -> Rejection | None:
        """Parse, and build at the lowest optimization level."""
        from enginesmith.converters.backends.tensorrt.check import trial

        return trial(self._session(), onnx, target, profile, values)

    def build(self, request: BuildRequest, context: Context) -> EngineInfo:
        """Write `engine.trt` into `request.out`.

        A timing cache is kept in `request.cache` for TensorRT; TensorRT-RTX would insist on a GPU for one.
        Raises ConversionError with a finding for every node refused, UserError where the profile does not fit.
        """
        session = self._session()
        context.progress("parsing")
        parsed = parse(session, request.onnx)
        if parsed.errors:
            raise self._failure(request, context, parsed.errors[0].message)
        values = {**request.observed, **request.values}
        config = config_for(
            parsed,
            request.profile,
            request.target,
            request.level,
            values=values,
            sparse=request.sparse,
            tf32=request.tf32,
            builder=request.builder,
        )
        asked, built = products_of(request.onnx), parsed.products()
        if lacking := shortfall(asked, built):
            raise ConversionError(
                f"{self.name} {self.version()}: {lacking}",
                "it did not take the types that the graph states: report it, with the graph",
            )
        cache = self._timing_cache(request)
        if cache is not None:
            stored = cache.read_bytes() if cache.exists() else b""
            config.set_timing_cache(config.create_timing_cache(stored), ignore_mismatch=False)
        watch(session, config, context)
        engine = build(parsed, config)
        if engine is None:
            raise self._failure(request, context, session.log.errors[-1] if session.log.errors else "no reason given")
        if cache is not None:
            _write(cache, config.get_timing_cache().serialize())
        path = request.out / ENGINE
        _write(path, engine)
        return self._describe(parsed, request, path, asked, built)

    def runner(self, engine: Path, threads: int | None = None) -> BaseRunner:
        """Polygraphy's TrtRunner over the engine, which raises ConversionError where the engine can't be loaded. Raises
        UserError without a GPU. `threads` means nothing here.
        """
        reason = NO_GPU if not local_gpus() else self.available()
        if reason:
            raise UserError(f"{self.name}: can't run {engine.name} here: {reason}")
        rtx = self.product is RTX
        # Polygraphy reads this once, when it is imported, and then speaks to one product for the process's life.
        os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1" if rtx else "0"
        from polygraphy import config

        if rtx != config.USE_TENSORRT_RTX:
            if "polygraphy.backend.trt" in sys.modules:
                raise RuntimeError("Polygraphy already speaks to the other TensorRT product in this process")
            config.USE_TENSORRT_RTX = rtx
        from polygraphy.backend.trt import TrtRunner

        # Polygraphy's own loader leaves TensorRT's reason in the log.
        session = open_session(self.product)
        return TrtRunner(lambda: load(session, engine.read_bytes()), name=self.name)

    def contents(self, engine: Path) -> dict[str, str]:
        from enginesmith.converters.backends.tensorrt.plan import contents

        return contents(engine)

    def command_lines(self, request: BuildRequest, inputs: Sequence[str], tolerances: Sequence[str]) -> Iterator[str]:
        from enginesmith.converters.backends.tensorrt.commands import command_lines

        return command_lines(self.product, request, self._timing_cache(request), inputs, tolerances)

    def _session(self) -> Session:
        if reason := self.available():
            raise UserError(f"{self.name}: {reason}")
        return builder_session(self.product)

    def _failure(self, request: BuildRequest, context: Context, message: str) -> ConversionError:
        findings = self.check(request, context)
        remedies = [finding.remedy for finding in findings if finding.remedy]
        return ConversionError(f"{self.name} {self.version()}: {message}", next(iter(remedies), ""), findings)

    def _timing_cache(self, request: BuildRequest) -> Path | None:
        if request.builder.timing_cache is not None:
            return request.builder.timing_cache
        if request.cache is None or self.product.capabilities:
            return None
        return request.cache / f"{self.name}-{self.version()}-{request.target}.timing"

    def _describe(
        self, parsed: Network, request: BuildRequest, path: Path, asked: Products, built: Products
    ) -> EngineInfo:
        trt = parsed.session.trt
        by_dtype = parsed.layers_by_dtype()
        steering = {name: _told(request, name) for name in steering_inputs(parsed)}
        said, observed = (
            ", ".join(told for name, told in steering.items() if (name in request.values) == wanted)
            for wanted in (True, False)
        )
        return EngineInfo(
            backend=self.name,
            target=request.target,
            file=path.name,
            size=path.stat().st_size,
            layers=sum(by_dtype.values()),
            layers_by_dtype=by_dtype,
            products_asked=asked,
            products_built=built,
            details={
                "builder": trt.__version__,
                "parser": str(trt.get_nv_onnx_parser_version()),
                "typing": "strong",
                "layers": "counted in the parsed network, before the builder fuses them",
                **({"options": request.builder.told} if request.builder.told else {}),
                **({"values": said} if said else {}),
                **({OBSERVED: observed} if observed else {}),
            },
        )


def _told(request: BuildRequest, name: str) -> str:
    """The range of an input's values, as the shapes have it."""
    low, opt, high = {**request.observed, **request.values}[name]
    return f"{name}={min(low)}..{opt[0]}..{max(high)}"


def _write(path: Path, data: Any) -> None:
    """Write a buffer so that the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(memoryview(data))
    os.replace(partial, path)


TENSORRT = TensorRTBackend(DATACENTER)
TENSORRT_RTX = TensorRTBackend(RTX)
