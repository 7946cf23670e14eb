"""The builder's options that a product has: how they are set, and why another one is refused.

What TensorRT-RTX does with them was measured with 1.7.1, without a GPU: level and auxiliary streams leave the engine as it is to
the byte, a timing cache is not used, and what is refittable or stripped is compiled only where a GPU is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from enginesmith.converters.backends.tensorrt.product import RTX, Product
from enginesmith.converters.core.builder_options import BuilderOptions, flag
from enginesmith.converters.core.errors import UserError

FLAGS = {
    "version_compatible": "VERSION_COMPATIBLE",
    "refittable": "REFIT",
    "strip_plan": "STRIP_PLAN",
    "weight_streaming": "WEIGHT_STREAMING",
}
"""To the names of `trt.BuilderFlag`."""
HARDWARE = {"ampere+": "AMPERE_PLUS", "same-capability": "SAME_COMPUTE_CAPABILITY"}
ON_A_GPU = "builds such an engine only where it sees a GPU, and is not shown any here; build again where weights change"
REFUSED = {
    "optimization_level": "its engines are the same at every level: leave it out",
    "version_compatible": "its engines run in the version that built them alone: build one for each, or take --backend tensorrt",
    "hardware_compatible": "its engines are for the GPUs that are named: --target sm_86,sm_89 builds one for each",
    "refittable": ON_A_GPU,
    "strip_plan": ON_A_GPU,
    "timing_cache": "it times no kernels, which are compiled where an engine is loaded: leave it out",
    "aux_streams": "it gives its engines one stream, whatever is asked: leave it out",
}
"""What TensorRT-RTX lacks, and what to do instead."""


def refused(product: Product, options: BuilderOptions) -> str:
    """Why a product can't build so, and what to do; empty where it can."""
    if product is not RTX:
        return ""
    return next(
        (f"{product.name} has no {flag(name)}: {REFUSED[name]}" for name in options.given if name in REFUSED), ""
    )


def apply(trt: Any, config: Any, options: BuilderOptions) -> None:
    """Set all but what the request has itself: level, TF32, timing cache. Raises UserError for what the installed version doesn't know."""
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace))
    for name, member in FLAGS.items():
        if getattr(options, name):
            known = _member(trt, "BuilderFlag", member, name)
            config.set_flag(known)
    if options.hardware_compatible is not None:
        member = HARDWARE[options.hardware_compatible]
        config.hardware_compatibility_level = _member(trt, "HardwareCompatibilityLevel", member, "hardware_compatible")
    if options.aux_streams is not None:
        config.max_aux_streams = options.aux_streams


def _member(trt: Any, kind: str, member: str, name: str) -> Any:
    found = getattr(getattr(trt, kind, None), member, None)
    if found is None:
        raise UserError(
            f"{trt.__name__} {trt.__version__} has no {flag(name)}, which is of a later version: leave it out"
        )
    return found


def trtexec(options: BuilderOptions) -> Iterator[str]:
    """As options of trtexec."""
    for name, value in options.given.items():
        match name:
            case "workspace":
                yield f"--memPoolSize=workspace:{value / 2**20:g}"
            case "hardware_compatible":
                yield f"--hardwareCompatibilityLevel={'ampere+' if value == 'ampere+' else 'sameComputeCapability'}"
            case "optimization_level":
                yield f"--builderOptimizationLevel={value}"
            case "aux_streams":
                yield f"--maxAuxStreams={value}"
            case "timing_cache":
                pass  # it is told with the store's
            case _:
                yield TRTEXEC[name]


TRTEXEC = {
    "version_compatible": "--versionCompatible",
    "refittable": "--refit",
    "strip_plan": "--stripWeights",
    "weight_streaming": "--allowWeightStreaming",
    "tf32": "--noTF32",
}


def polygraphy(options: BuilderOptions) -> Iterator[str]:
    """As options of `polygraphy convert` and `run`, which allow TF32 only where they are told so."""
    for name, value in options.given.items():
        match name:
            case "workspace":
                yield from ("--pool-limit", f"workspace:{value:.0f}")
            case "hardware_compatible":
                yield from ("--hardware-compatibility-level", HARDWARE[value].lower())
            case "optimization_level":
                yield from ("--builder-optimization-level", str(value))
            case "aux_streams":
                yield from ("--max-aux-streams", str(value))
            case "tf32" | "timing_cache":
                pass
            case _:
                yield flag(name)
