"""TensorRT and TensorRT-RTX: one adapter, which takes the product's Python module.

TensorRT-RTX parses and builds on any machine, for the compute capability asked for. TensorRT builds for the GPU that it
runs on, so it needs one. Both run engines on a GPU only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends.base import BuildRequest, Profile, Rejection
from enginesmith.converters.backends.tensorrt.gpu import local_gpus
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.records import EngineInfo
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs.products import Products, products_of, shortfall

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

    from enginesmith.converters.backends.tensorrt.session import Network, Session

ENGINE = "engine.trt"
FIRST_BF16 = FIRST_SPARSE = 80
"""Compute capability from which a GPU has bfloat16, and tensor cores for sparse weights: Ampere's."""
NO_GPU = "no GPU"
NO_GPU_HERE = f"{NO_GPU} on this machine"
NO_GPU_TO_BUILD = f"{NO_GPU}: it builds only for the GPU of the machine"

HIDDEN = "-1"
"""The value of CUDA_VISIBLE_DEVICES with which CUDA finds no GPU."""


@dataclass(frozen=True)
class Product:
    """What sets the two products apart."""

    name: str
    module: str
    requirement: str
    packages: tuple[str, ...]
    capabilities: tuple[str, ...]
    """Targets that it builds for on any machine; empty when it builds for the GPU present only."""
    default: str = ""
    """The target on a machine without a GPU."""


TENSORRT = Product(
    name="tensorrt",
    module="tensorrt",
    requirement="pip install tensorrt",
    packages=("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    capabilities=(),
)
TENSORRT_RTX = Product(
    name="tensorrt-rtx",
    module="tensorrt_rtx",
    requirement="pip install tensorrt-rtx-cu12",
    packages=("tensorrt-rtx-cu12", "tensorrt-rtx-cu13", "tensorrt-rtx"),
    # Members of `tensorrt_rtx.ComputeCapability`, version 1.7.1; importing it to ask takes 1.3 s.
    capabilities=("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121"),
    default="sm_89",
)


class TensorRTBackend:
    """Builds TensorRT engines. One instance per product; a process may use one of them only."""

    engine_file = ENGINE
    without_torch = False
    dynamic_shapes = True
    half = True

    def __init__(self, product: Product) -> None:
        self.product = product
        self.name = product.name
        self.packages = product.packages
        self.alone = not product.capabilities
        self.preload: tuple[str, ...] = (product.module, f"{__package__}.check")
        self.requirement = product.requirement

    def version(self) -> str:
        for package in self.packages:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return ""

    def available(self) -> str | None:
        if importlib.util.find_spec(self.product.module) is None:
            return f"not installed: {self.requirement}"
        if not self.product.capabilities and not local_gpus():
            return NO_GPU_TO_BUILD
        return None

    def buildable(self, target: str) -> str | None:
        return None

    def runnable(self, target: str) -> str | None:
        gpus = local_gpus()
        if not gpus:
            return NO_GPU
        if gpus[0].target != target:
            return f"built for {target}, and the GPU here is {gpus[0].target} ({gpus[0].name})"
        if importlib.util.find_spec(self.product.module) is None:
            return f"not installed: {self.requirement}"
        return None

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
            canonical = re.sub(r"^(sm_?)?(\d+)\.?(\d)$", r"sm_\2\3", target.strip().lower())
        if canonical not in known:
            raise unknown(f"target of {self.name}", canonical, known)
        return canonical

    def lacks(self, precision: str, target: str) -> str:
        if precision == "bf16" and int(target.removeprefix("sm_")) < FIRST_BF16:
            return f"{self.name}: {target} has no bfloat16, which begins with sm_{FIRST_BF16}; ask for fp16"
        return ""

    def sparse_kernels(self, target: str) -> bool:
        return int(target.removeprefix("sm_")) >= FIRST_SPARSE

    def check(self, request: BuildRequest, context: Context) -> list[Finding]:
        """Parse and build at the lowest optimization level; when that fails, probe the nodes one by one.

        Raises UserError where the profile does not fit the model.
        """
        from enginesmith.converters.backends.tensorrt import check as trt_check

        return trt_check.check(self, request, context)

    def trial(self, onnx: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]) -> Rejection | None:
        """Parse, and build at the lowest optimization level."""
        from enginesmith.converters.backends.tensorrt import check as trt_check

        return trt_check.trial(self, onnx, target, profile, values)

    def build(self, request: BuildRequest, context: Context) -> EngineInfo:
        """Write `engine.trt` into `request.out`.

        A timing cache is kept in `request.cache` for TensorRT; TensorRT-RTX would insist on a GPU for one.
        Raises ConversionError with a finding for every node refused, UserError where the profile does not fit.
        """
        from enginesmith.converters.backends.tensorrt import session as trt_session

        session = self.session()
        context.progress("parsing")
        parsed = trt_session.parse(session, request.onnx)
        if parsed.errors:
            raise self._failure(request, context, parsed.errors[0].message)
        config = trt_session.config_for(parsed, request.profile, self.capability(request.target), sparse=request.sparse)
        asked, built = products_of(request.onnx), parsed.products()
        if lacking := shortfall(asked, built):
            raise ConversionError(
                f"{self.name} {self.version()}: {lacking}",
                "it did not take the types that the graph states: report it, with the graph",
            )
        cache = self.timing_cache(request.cache, request.target) if request.cache is not None else None
        if cache is not None:
            stored = cache.read_bytes() if cache.exists() else b""
            config.set_timing_cache(config.create_timing_cache(stored), ignore_mismatch=False)
        trt_session.watch(session, config, context)
        engine = trt_session.build(parsed, config)
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
        rtx = self.product is TENSORRT_RTX
        # Polygraphy reads this once, when it is imported, and then speaks to one product for the process's life.
        os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1" if rtx else "0"
        from polygraphy import config

        if rtx != config.USE_TENSORRT_RTX:
            if "polygraphy.backend.trt" in sys.modules:
                raise RuntimeError("Polygraphy already speaks to the other TensorRT product in this process")
            config.USE_TENSORRT_RTX = rtx
        from polygraphy.backend.trt import TrtRunner

        from enginesmith.converters.backends.tensorrt import session as trt_session

        # Polygraphy's own loader leaves TensorRT's reason in the log.
        session = trt_session.open_session(self.product.module)
        return TrtRunner(lambda: trt_session.load(session, engine.read_bytes()), name=self.name)

    def session(self) -> Session:
        """The product's module and logger, to parse and build with. Raises UserError where it isn't installed.

        A product that builds for any GPU doesn't see the one here from then on, in this process, unless it has seen it
        before: the engine is the same, and TensorRT-RTX 1.7's parser brings the process down at a RoiAlign on a machine
        with a GPU (seen on an H100), where it refuses the node without one.
        """
        from enginesmith.converters.backends.tensorrt import session as trt_session

        reason = self.available()
        if reason:
            raise UserError(f"{self.name}: {reason}")
        if self.product.capabilities:
            os.environ["CUDA_VISIBLE_DEVICES"] = HIDDEN
        return trt_session.open_session(self.product.module)

    def capability(self, target: str) -> str | None:
        """The compute capability to tell the builder, None for the product that takes the GPU present."""
        return target if self.product.capabilities else None

    def _failure(self, request: BuildRequest, context: Context, message: str) -> ConversionError:
        from enginesmith.converters.backends.tensorrt import check as trt_check

        findings = trt_check.check(self, request, context)
        remedies = [finding.remedy for finding in findings if finding.remedy]
        return ConversionError(f"{self.name} {self.version()}: {message}", next(iter(remedies), ""), findings)

    def timing_cache(self, folder: Path, target: str) -> Path | None:
        """The file in a `BuildRequest.cache` that a build for `target` reads and writes; None for a product without one."""
        return None if self.product.capabilities else folder / f"{self.name}-{self.version()}-{target}.timing"

    def _describe(
        self, parsed: Network, request: BuildRequest, path: Path, asked: Products, built: Products
    ) -> EngineInfo:
        trt = parsed.session.trt
        by_dtype = parsed.layers_by_dtype()
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
            },
        )


@dataclass(frozen=True)
class EngineHeader:
    """What an engine file says about itself without a GPU. `unread` is why the rest can't be had."""

    size: int
    version: str
    """The builder's version; empty where the header isn't one that we know."""
    unread: str


def inspect(engine: Path) -> EngineHeader:
    """Read an engine file's header: `vtrt`, at byte 24 the builder's version in four bytes (seen in 1.7.1.116).

    Layers and tensors can only be read after deserialization, which needs a GPU of the engine's compute capability.
    Raises UserError for a file that is no engine.
    """
    with engine.open("rb") as file:
        head = file.read(32)
    if head[:4] != b"vtrt":
        raise UserError(f"{engine} is no TensorRT engine")
    version = ".".join(map(str, head[24:28])) if head[28:32] == b"vtrt" else ""
    unread = "" if local_gpus() else f"{NO_GPU}: layers can be read only where the engine can be loaded"
    return EngineHeader(engine.stat().st_size, version, unread)


def _write(path: Path, data: Any) -> None:
    """Write a buffer so that the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(memoryview(data))
    os.replace(partial, path)
