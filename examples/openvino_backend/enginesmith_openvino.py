"""OpenVINO for the CPU, as a plug-in of Enginesmith: all that a backend takes, in one file.

    pip install examples/openvino_backend
    enginesmith build lenet --backend openvino

`pyproject.toml` beside it names the class under `enginesmith.backends`; nothing else makes it known.
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends.base import Backend, BuildRequest, Profile, Rejection
from enginesmith.converters.core.errors import ConversionError, UserError, first_line
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.records import EngineInfo
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs.products import products_of

if TYPE_CHECKING:
    import onnx
    from polygraphy.backend.base import BaseRunner

NATIVE = "native"
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
"""Else it takes bfloat16 where the CPU has it, whatever the graph says."""
OUTPUT = "/sink_port_0"
"""The frontend adds it to an output's name in ONNX; of the names of its tensor, any may come first."""
NOISE = re.compile(r"[ch]pp:\d|^FrontEnd API|^Model wasn't|^-- ")
"""Of an error's lines."""
DTYPES = {"f": "float", "i": "int", "u": "uint", "bf": "bfloat", "boolean": "bool"}


class OpenVINO(Backend):
    """Builds `model.xml` with its weights in `model.bin`, which run on any CPU that OpenVINO knows."""

    name = "openvino"
    packages = ("openvino", "enginesmith-openvino")
    requirement = "pip install openvino"
    engine_file = "model.xml"
    dynamic_shapes = True

    def available(self) -> str | None:
        return None if importlib.util.find_spec("openvino") else f"not installed: {self.requirement}"

    def runnable(self, target: str) -> str | None:
        return self.available()

    def resolve_target(self, target: str) -> str:
        if target not in ("auto", NATIVE):
            raise unknown(f"target of {self.name}", target, [NATIVE])
        return NATIVE

    def check(self, request: BuildRequest, context: Context) -> list[Finding]:
        from enginesmith.converters.backends.probe import probe_nodes

        context.progress("compiling the graph")
        whole = self.trial(request.onnx, request.target, request.profile, {})
        if whole is None:
            return []

        def oracle(model: onnx.ModelProto) -> str | None:
            refused = _refused(model.SerializeToString(), {})
            return None if refused is None else refused.message

        verdict = probe_nodes(request.onnx, request.profile, oracle, context.progress)
        return [self._finding(found.node, found.op, found.message) for found in verdict.refusals] or [
            self._finding("", "", whole.message)
        ]

    def parse(self, onnx: Path) -> Rejection | None:
        refused = _refused(onnx, {})
        return refused if refused and refused.step == "parse" else None

    def trial(self, onnx: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]) -> Rejection | None:
        return _refused(onnx, profile)

    def build(self, request: BuildRequest, context: Context) -> EngineInfo:
        import openvino

        context.progress("compiling")
        try:
            model = _read(request.onnx, request.profile)
            layers = _layers(openvino.Core().compile_model(model, "CPU", EXACT))
        except RuntimeError as error:
            findings = self.check(request, context)
            raise ConversionError(f"{self.name} {self.version()}: {_reason(error)}", "", findings) from error
        path = request.out / self.engine_file
        openvino.save_model(model, path, compress_to_fp16=False)
        return EngineInfo(
            backend=self.name,
            target=request.target,
            file=path.name,
            size=path.stat().st_size + path.with_suffix(".bin").stat().st_size,
            layers=sum(layers.values()),
            layers_by_dtype=layers,
            products_asked=products_of(request.onnx),
            details={"openvino": self.version(), "layers": "of the graph as it is run on this CPU"},
        )

    def runner(self, engine: Path, threads: int | None = None) -> BaseRunner:
        from polygraphy.backend.base import BaseRunner as Base
        from polygraphy.common import TensorMetadata

        class Runner(Base):  # type: ignore[misc]
            def activate_impl(self) -> None:
                import openvino

                if not engine.exists():
                    raise UserError(f"{engine} doesn't exist")
                bound = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
                self.compiled = openvino.Core().compile_model(engine, "CPU", {**EXACT, **bound})
                self.request = self.compiled.create_infer_request()

            def get_input_metadata_impl(self) -> Any:
                metadata = TensorMetadata()
                for port in self.compiled.inputs:
                    shape = [size.get_length() if size.is_static else -1 for size in port.partial_shape]
                    metadata.add(port.node.friendly_name, dtype=port.element_type.to_dtype(), shape=shape)
                return metadata

            def infer_impl(self, feed_dict: Mapping[str, Any]) -> OrderedDict[str, Any]:
                self.request.infer({port: feed_dict[port.node.friendly_name] for port in self.compiled.inputs})
                self.inference_time = self.request.latency / 1e3
                return OrderedDict(
                    (port.node.friendly_name.removesuffix(OUTPUT), self.request.get_tensor(port).data.copy())
                    for port in self.compiled.outputs
                )

            def deactivate_impl(self) -> None:
                del self.request, self.compiled

        return Runner(name=self.name)

    def _finding(self, node: str, op: str, message: str) -> Finding:
        return Finding(
            severity="error",
            op=op,
            node=node,
            backend=self.name,
            versions=self.version(),
            message=message,
            remedy="express it in other standard operators before the export" if op else "",
        )


def _read(graph: Path | bytes, profile: Profile) -> Any:
    """The model, its dynamic dimensions bounded as the profile says."""
    import openvino

    model = openvino.Core().read_model(graph)
    if profile:
        bounds = {
            name: openvino.PartialShape([openvino.Dimension(low, high) for low, high in zip(least, most, strict=True)])
            for name, (least, _, most) in profile.items()
        }
        model.reshape(bounds)
    return model


def _refused(graph: Path | bytes, profile: Profile) -> Rejection | None:
    import openvino

    try:
        model = _read(graph, profile)
    except RuntimeError as error:
        return Rejection(step="parse", message=_reason(error))
    try:
        openvino.Core().compile_model(model, "CPU", EXACT)
    except RuntimeError as error:
        return Rejection(step="build", message=_reason(error))
    return None


def _reason(error: RuntimeError) -> str:
    """In one line: the last that is no place in OpenVINO's sources, else what the frontend's summary begins with."""
    details, _, summary = str(error).partition("Summary:")
    lines = [line.strip() for line in details.splitlines() if line.strip() and not NOISE.search(line)]
    return lines[-1] if lines else summary.strip().removeprefix("-- ").partition("\n")[0] or first_line(error)


def _layers(compiled: Any) -> dict[str, int]:
    """Layers by what they compute in, those left out that only hold or pass on data."""
    counts: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = node.get_rt_info()
        if told["layerType"].astype(str) not in ("Input", "Output", "Const"):
            counts[_dtype(told["runtimePrecision"].astype(str))] += 1
    return dict(counts.most_common())


def _dtype(name: str) -> str:
    """`f32` to `float32`."""
    letters = name.rstrip("0123456789")
    return DTYPES.get(letters, letters) + name[len(letters) :]
