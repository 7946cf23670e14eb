"""The part of the TensorRT Python API that both products share: logger, parser, profile, build.

A session holds the product's module (`tensorrt` or `tensorrt_rtx`); what comes from that is `Any`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.backends.base import Profile, Values
from enginesmith.converters.backends.tensorrt.capabilities import not_built_for
from enginesmith.converters.backends.tensorrt.options import apply
from enginesmith.converters.backends.tensorrt.product import Product
from enginesmith.converters.core.builder_options import BuilderOptions
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.names import unknown

if TYPE_CHECKING:
    import onnx

HIDDEN = "-1"
"""The value of CUDA_VISIBLE_DEVICES with which CUDA finds no GPU."""

DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "FP8": "float8",
    "FP4": "float4",
    "INT4": "int4",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}
"""Names of `trt.DataType` to the names that the manifest uses."""


PRODUCTS = {
    "CONVOLUTION": "convolutions",
    "DECONVOLUTION": "transposed convolutions",
    "MATRIX_MULTIPLY": "matrix products",
}
"""Names of `trt.LayerType` to the kinds of products."""


REARRANGING = ("SHUFFLE", "IDENTITY")
"""Names of `trt.LayerType` that change no element: the parser transposes the factors of a Gemm so."""


@dataclass
class Log:
    """What TensorRT said at ERROR or worse since the last `clear`, also told to stderr unless `quiet`."""

    errors: list[str] = field(default_factory=list)
    quiet: bool = False

    def clear(self) -> None:
        self.errors.clear()

    @contextmanager
    def hushed(self) -> Iterator[None]:
        """Keep errors off stderr: probes fail by the dozen, and each failure becomes a finding anyway."""
        self.quiet = True
        try:
            yield
        finally:
            self.quiet = False


@dataclass(frozen=True)
class Session:
    """A product's module with the one logger that it accepts per process, and the log that this one fills."""

    product: Product
    trt: Any
    logger: Any
    log: Log


def builder_session(product: Product) -> Session:
    """The session to parse and build with. Raises UserError where the product isn't installed.

    A product that builds for any GPU doesn't see the one here from then on, in this process, unless it has seen it
    before: the engine is the same, and TensorRT-RTX 1.7's parser brings the process down at a RoiAlign on a machine
    with a GPU (seen on an H100), where it refuses the node without one.
    """
    if product.capabilities:
        os.environ["CUDA_VISIBLE_DEVICES"] = HIDDEN
    return open_session(product)


@cache
def open_session(product: Product) -> Session:
    """Import the product, give it its logger and load its plugins. Later calls return the same session."""
    if reason := missing(product):
        raise UserError(f"{product.name}: {reason}")
    module = product.module
    trt = importlib.import_module(module)
    log = Log()
    severity = trt.ILogger.Severity if hasattr(trt.ILogger, "Severity") else trt.ILogger

    class Logger(trt.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level in (severity.INTERNAL_ERROR, severity.ERROR):
                log.errors.append(message)
                if not log.quiet:
                    print(f"{module}: {message}", file=sys.stderr)
            elif level == severity.WARNING and not log.quiet:
                print(f"{module}: {message}", file=sys.stderr)
            elif level == severity.INFO and not log.quiet:
                print(f"{module}: {message}")

    logger = Logger()
    trt.init_libnvinfer_plugins(logger, "")
    return Session(product, trt, logger, log)


def missing(product: Product) -> str | None:
    """None where the product is installed, else how to install it."""
    return None if importlib.util.find_spec(product.module) else f"not installed: {product.requirement}"


@dataclass(frozen=True)
class ParseError:
    """What the parser says about the node at which it stopped.

    `index` is the node's place in its graph, -1 where the parser doesn't know; `node` is empty where it has no name.
    """

    index: int
    node: str
    op: str
    message: str


@dataclass
class Network:
    """A parsed network with the objects that must outlive it."""

    session: Session
    builder: Any
    network: Any
    parser: Any
    errors: list[ParseError]

    @property
    def inputs(self) -> list[Any]:
        return [self.network.get_input(index) for index in range(self.network.num_inputs)]

    def layers_by_dtype(self) -> dict[str, int]:
        """Layers by the dtype of their first output, constants left out.

        The network is strongly typed: what it says is what the engine computes in, give or take fused layers.
        """
        counts: Counter[str] = Counter()
        for index in range(self.network.num_layers):
            layer = self.network.get_layer(index)
            if layer.num_outputs and layer.type != self.session.trt.LayerType.CONSTANT:
                name = layer.get_output(0).dtype.name
                counts[DTYPES.get(name, name.lower())] += 1
        return dict(counts.most_common())

    def products(self) -> dict[str, dict[str, int]]:
        """Convolutions and matrix products by kind and by what they compute in, as `precision.proof` names them: `int8`
        where both factors come from dequantized integers, `int8 weights` or `int4 weights` where the second does, else the dtype
        of the output.
        """
        layers = [self.network.get_layer(index) for index in range(self.network.num_layers)]
        integers = self._dequantized(layers)
        counts: dict[str, Counter[str]] = {}
        for layer in layers:
            if (kind := PRODUCTS.get(layer.type.name)) is not None:
                name = layer.get_output(0).dtype.name
                found = _quantization(layer, integers) or DTYPES.get(name, name.lower())
                counts.setdefault(kind, Counter())[found] += 1
        return {kind: dict(found) for kind, found in counts.items()}

    def _dequantized(self, layers: Sequence[Any]) -> dict[str, str]:
        """Names of the tensors that are dequantized from integers, also where they were only rearranged since, with what from."""
        found: dict[str, str] = {}
        for layer in layers:
            if not layer.num_inputs or layer.get_input(0) is None:
                continue
            source = layer.get_input(0)
            if layer.type.name == "DEQUANTIZE" and source.dtype.name in ("INT8", "INT4"):
                found[layer.get_output(0).name] = DTYPES[source.dtype.name]
            elif layer.type.name in REARRANGING and source.name in found:
                found[layer.get_output(0).name] = found[source.name]
        return found


def _quantization(layer: Any, integers: Mapping[str, str]) -> str:
    """As `precision.structure.quantization` of the node that the layer comes from."""
    factors = [layer.get_input(index) for index in range(min(layer.num_inputs, 2))]
    data, weights = ([integers.get(factor.name, "") if factor else "" for factor in factors] + ["", ""])[:2]
    return "int8" if data and weights == "int8" else f"{weights} weights" if weights else ""


def parse(session: Session, model: Path | onnx.ModelProto) -> Network:
    """Parse a file, with its external data beside it, or a model in memory. `errors` is empty on success."""
    trt = session.trt
    session.log.clear()
    builder = trt.Builder(session.logger)
    # TensorRT 10 has the flag; later versions know nothing but strong typing and may drop it.
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, session.logger)
    done = parser.parse_from_file(str(model)) if isinstance(model, Path) else parser.parse(model.SerializeToString())
    errors = [] if done else [_parse_error(parser.get_error(index)) for index in range(parser.num_errors)]
    if not done and not errors:
        errors = [ParseError(-1, "", "", _last(session.log, "the parser failed and gave no reason"))]
    return Network(session, builder, network, parser, errors)


def config_for(
    parsed: Network,
    profile: Profile,
    target: str,
    level: int | None = None,
    values: Values | None = None,
    sparse: bool = False,
    tf32: bool = True,
    builder: BuilderOptions | None = None,
) -> Any:
    """A builder configuration: the `target` (`sm_89`) for a product that builds for any, the profile's ranges,
    builder optimization `level` (0 fastest build .. 5; None: the product's default), the `values` that inputs
    which decide on shapes may have, from lowest to highest, with `sparse` the kernels for weights that are 2:4 sparse, and
    without `tf32` products of float32 whose factors are not rounded; `builder` is what else was asked for.

    Raises UserError where the profile does not fit the network's inputs, or nothing says what values those have.
    """
    trt = parsed.session.trt
    config = parsed.builder.create_builder_config()
    if level is not None:
        config.builder_optimization_level = level
    if (capability := parsed.session.product.capability(target)) is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(trt, capability), 0)
    if sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if not tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if builder is not None:
        apply(trt, config, builder)
    _check_profile(parsed, profile)
    dynamic = [tensor for tensor in parsed.inputs if -1 in tuple(tensor.shape)]
    steering = steering_inputs(parsed)
    if dynamic or steering:
        ranges = parsed.builder.create_optimization_profile()
        for name in steering:
            if name not in (values or {}):
                raise UserError(
                    f"the values of input {name} decide on sizes: give their range, such as {name}=1..30..500"
                )
            ranges.set_shape_input(name, *map(list, (values or {})[name]))
        for tensor in dynamic:
            ranges.set_shape(tensor.name, *(tuple(shape) for shape in profile[tensor.name]))
        if config.add_optimization_profile(ranges) < 0:
            raise UserError(_last(parsed.session.log, f"TensorRT refuses the shape ranges {dict(profile)}"))
    return config


def steering_inputs(parsed: Network) -> list[str]:
    """Names of the inputs whose values decide on sizes."""
    return [tensor.name for tensor in parsed.inputs if tensor.is_shape_tensor]


def build(parsed: Network, config: Any) -> Any:
    """The serialized engine as a buffer, or None; the reason is then in the session's log."""
    parsed.session.log.clear()
    return parsed.builder.build_serialized_network(parsed.network, config)


def load(session: Session, engine: bytes) -> Any:
    """The engine, ready to run on the GPU here. Raises ConversionError with what TensorRT has against it."""
    session.log.clear()
    loaded = session.trt.Runtime(session.logger).deserialize_cuda_engine(engine)
    if loaded is None:
        raise ConversionError(
            plain(next(iter(session.log.errors), "TensorRT doesn't load the engine and gives no reason"))
        )
    return loaded


def plain(message: str) -> str:
    """One line, without the place in NVIDIA's sources where it was raised."""
    text = re.sub(r"^\[\w+\.cpp::\w+::\d+\]\s*", "", " ".join(message.split()))
    return re.sub(r"\s*In \w+ at \S+\.cpp:\d+", "", text)


def _check_profile(parsed: Network, profile: Profile) -> None:
    by_name = {tensor.name: tuple(tensor.shape) for tensor in parsed.inputs}
    for name, shapes in profile.items():
        if name not in by_name:
            raise unknown("input in the shapes", name, by_name)
        for shape in shapes:
            fits = len(shape) == len(by_name[name]) and all(
                size in (-1, given) for size, given in zip(by_name[name], shape, strict=True)
            )
            if not fits:
                raise UserError(
                    f"input {name} of the model has shape {by_name[name]}, which {tuple(shape)} doesn't fit"
                )
    for name, shape in by_name.items():
        if -1 in shape and name not in profile:
            raise UserError(
                f"input {name} has dynamic dimensions {shape}: give its range, such as {name}:1..4..16x3x224x224"
            )


def _capability(trt: Any, target: str) -> Any:
    member = getattr(trt.ComputeCapability, target.replace("sm_", "SM"), None)
    if member is None:
        known = [f"sm_{name[2:]}" for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
        raise not_built_for(f"{trt.__name__} {trt.__version__}", target, known)
    return member


def _parse_error(error: Any) -> ParseError:
    return ParseError(error.node(), error.node_name() or "", error.node_operator() or "", error.desc())


def _last(log: Log, default: str) -> str:
    return log.errors[-1] if log.errors else default
