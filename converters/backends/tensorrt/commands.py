"""The command lines of trtexec and Polygraphy that are equal to a build."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.tensorrt import options
from enginesmith.converters.backends.tensorrt.product import RTX, Product


def command_lines(
    product: Product, request: BuildRequest, cache: Path | None, inputs: Sequence[str], tolerances: Sequence[str]
) -> Iterator[str]:
    """An engine from trtexec, the same from Polygraphy, and the comparison with ONNX Runtime. The precision is in the graph,
    which TensorRT is told to keep to; TensorRT-RTX, whose trtexec is `tensorrt_rtx`, knows nothing else.
    """
    rtx = product is RTX
    plan = f"{product.name}_{request.target}.plan"
    trtexec: list[str] = []
    polygraphy: list[str] = []
    only_convert: list[str] = []
    for place, kind in enumerate(("min", "opt", "max") if request.profile else ()):
        # of an input that decides on sizes both tools take the values in the place of its shape
        shapes = {name: sides[place] for name, sides in {**request.profile, **request.values}.items()}
        trtexec.append(f"--{kind}Shapes={','.join(f'{name}:{_shape(shape)}' for name, shape in shapes.items())}")
        polygraphy.append(f"--trt-{kind}-shapes")
        polygraphy += [f"{name}:[{','.join(map(str, shape))}]" for name, shape in shapes.items()]
    if request.sparse:
        trtexec.append("--sparsity=enable")
        polygraphy.append("--sparse-weights")
    trtexec += options.trtexec(request.builder)
    polygraphy += options.polygraphy(request.builder)
    if rtx:
        capability = request.target.removeprefix("sm_")
        trtexec.append(f"--computeCapabilities={capability}")
        only_convert = ["--compute-capabilities", f"{capability[:-1]}.{capability[-1]}"]
    else:
        yield f"# TensorRT builds for the GPU of the machine: on one with {request.target}"
        trtexec.append("--stronglyTyped")
        polygraphy.append("--strongly-typed")
    if cache is not None:
        trtexec.append(f"--timingCacheFile={cache}")
        polygraphy += ["--load-timing-cache", str(cache)]
    graph = str(request.onnx)
    tool = [*(["POLYGRAPHY_USE_TENSORRT_RTX=1"] if rtx else []), "polygraphy"]
    name = "tensorrt_rtx" if rtx else "trtexec"
    yield shlex.join([name, f"--onnx={graph}", f"--saveEngine={plan}", *trtexec, "--skipInference"])
    yield shlex.join([*tool, "convert", graph, "--convert-to", "trt", "--output", plan, *only_convert, *polygraphy])
    yield shlex.join([*tool, "run", graph, "--trt", "--onnxrt", *polygraphy, *inputs, *tolerances])


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
