"""What a line says in the form of the tool that wrote it: whose it is, its class, its sentence, at which step of a conversion."""

from __future__ import annotations

import re
from typing import NamedTuple

_SOURCE = r"(?:\[(?P<source>[\w./\\:~ ]{1,200}?::\w[^\]]{0,160})\] )?"
_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (tool, re.compile(pattern))
    for tool, pattern in (
        # TensorRT 8 to 11: [file.cpp::function::line] Error Code 4: Internal Error (node: message)
        (
            "TensorRT",
            _SOURCE
            + r"(?:(?P<call>[\w:]{3,80}): )?Error Code:? ?(?P<code>\d+): (?P<kind>[A-Z][\w ]{2,40}) \((?P<message>.{1,1500}?)\)?$",
        ),
        # TensorRT up to 7: ../rtExt/cuda/runner.cpp (140) - Assertion Error in execute: 0 (condition)
        ("TensorRT", r"(?:^|[\] ])(?P<source>[\w./\\]{3,200}\.(?:cpp|cu|cc|h)) \(\d+\) - (?P<message>(?:\w{2,20} ){1,3}Error in .{1,800})"),
        ("TensorRT", r"Error Code:? ?(?P<code>\d+): (?P<message>Skipping tactic .{1,800})"),
        # onnx-tensorrt 10: In node 5 with name: n and operator: Resize (checkResize): UNSUPPORTED_NODE: message
        (
            "TensorRT",
            r"In node -?\d+ (?:with name: .{0,300} and operator: \w+ )?\((?P<call>\w+)\): (?P<kind>[A-Z][A-Z_]+): (?P<message>.{1,800})",
        ),
        ("TensorRT", r"^\[(?P<code>\d{1,2})\] (?P<message>(?!\d).{3,800})"),  # onnx-tensorrt up to 9, below its header
        ("TensorRT", r"^(?:\[[EF]\] )?(?:\[TRT\] )\[?(?:E\] )?(?P<message>.{3,800})"),
        ("TensorRT", r"^\[(?:TensorRT|TRT)\] (?:INTERNAL_?)? ?ERROR: (?P<message>.{3,800})"),
        ("TensorRT-LLM", r"\[TensorRT-LLM\]\[ERROR\] (?:[\w:]{1,80}: )?(?:\[TensorRT-LLM\]\[ERROR\] )?(?P<message>.{3,800})"),
        # ONNX Runtime: the status, and with it the node that ran
        (
            "ONNX Runtime",
            r"Non-zero status code returned while running \w+ node\. ?Name: ?'[^']{0,300}' ?Status Message: ?(?P<message>.{1,1500})",
        ),
        ("ONNX Runtime", r"\[ONNXRuntimeError\] : (?P<code>\d+) : (?P<kind>[A-Z_ ]{3,40}) : (?P<message>.{1,1500})"),
        ("ONNX Runtime", r"\[ErrorCode: ?(?P<kind>\w+)\] (?P<message>.{1,1500})"),
        ("TensorRT", r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(?:INTERNAL_)?ERROR\] (?P<message>.{1,1500})"),  # passed on by ONNX Runtime
        ("ONNX Runtime", r"\[E:onnxruntime:[^\]]{0,300}\] (?P<message>.{1,1500})"),
        ("RKNN", r"^E (?!  )(?:\w{1,40}: )?(?:(?:\w+\.)*\w+Error: )?(?P<message>\S.{3,800})"),
        # DeepStream: NvDsInferContext[UID 1]: Error in NvDsInferContextImpl::f() <file.cpp:60> [UID = 1]: message
        (
            "DeepStream",
            r"NvDsInferContext\[UID \d+\]: ?(?:Error in )?(?P<call>[\w:]{1,120})\(\) <[^>]{1,200}> "
            r"\[UID ?= ?\d+\]: (?P<message>.{3,800})",
        ),
        ("Polygraphy", r"^\[!\] (?P<message>.{3,800})"),
        ("TVM", r"(?:TVMError|InternalError): (?P<message>Check failed: .{1,800})"),
        ("CMake", r"^(?P<message>CMake (?:Error|Generate step failed).{0,400})"),
        ("Triton", r"^[EF]\d{4} \d\d:\d\d:\d\d\.\d+ \d+ [\w.]+:\d+\] (?P<message>.{3,800})"),
        ("Ultralytics", r"^(?P<kind>[\w ]{2,40}): export failure.{0,20}?: (?P<message>.{3,800})"),
        ("C++", r"^ *what\(\): +(?P<message>\S.{2,800})"),
        ("C++", r"(?P<message>Assertion [`'][^`']{1,300}' failed.{0,300})"),
        (
            "Python",
            r"^(?:E +)?(?P<kind>(?:\w+\.)*(?:[A-Z]\w*)?(?:Error|Exception|Exit|Interrupt|Unsupported|Violation)): (?P<message>.{1,800})",
        ),
    )
)  # fmt: skip
_SIGNATURE = re.compile(
    r"^(?:[A-Za-z]:)?[\w./\\-]{1,300}\.(?:cc|h|cpp|cu|cuh)(?::| ?\()\d+\)?:? .{0,600}?\) (?:const )?(?=\S)"
)
"""File, line and C++ signature before ONNX Runtime's sentence."""
_BEFORE = re.compile(r"^.{0,300}?\[(?:Shape|Type)InferenceError\] (?!\()")
"""Whose shapes onnx inferred; the place is read from the line."""
_AFTER = re.compile(r" ?\((?:[A-Za-z]:)?[\w./\\-]{1,300}\.(?:cc?|h|cpp|cu|cuh|hpp):\d+\)$")
"""File and line behind a condition of TensorRT-LLM."""

STEPS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (step, re.compile(pattern), advice)
    for step, pattern, advice in (
        (
            "install",
            r"(?i)pip |setup\.py|egg_info|build wheel|metadata-generation|requirement",
            "the lines above it: which package could not be built or found, for which Python and platform",
        ),
        (
            "compiling C++",
            r"CMake|cmake|ptxas|nvcc|\bld: |undefined reference|collect2|make(?:\[\d+\])?: \*\*\*|\.(?:cpp|cu|h):\d+:\d+: ",
            "the first error of the compiler above it, and whether headers and libraries are of one version",
        ),
        (
            "loading libraries",
            r"ImportError|undefined symbol|cannot open shared object|dlopen|LoadLibrary|DLL load",
            "which file the loader names, and whether everything around it was built for the same version of it",
        ),
        (
            "calibration",
            r"[Cc]alibrat",
            "the calibrator's batches: shapes, types and device pointers; better, write int8 into the graph as Q/DQ",
        ),
        (
            "loading the engine",
            r"deserialize|[Ss]erialization|stdArchive|plan file|Loaded engine",
            "TensorRT's version, the GPU and the plugins where the engine was built, and where it is loaded",
        ),
        (
            "running",
            r"enqueue|executeV|executionContext|ExecutionContext|execute::|Runner|while running|validateInputBindings|sequential_executor",
            "the shapes, types and addresses that were given to the run, against those of the engine or model",
        ),
        (
            "shape analysis",
            r"graphShapeAnalyzer|shapeContext|symbolicExecute|getDimensions|shapeMachine|kM(?:IN|AX) values|kOPT values",
            "the shapes at this node in the model (shape inference, or Netron): what computes them",
        ),
        (
            "parsing the model",
            r"ModelImporter|[oO]nnxOp|builtin_op_importers|onnx2trt|In function (?:import|parse|check)|UNSUPPORTED_"
            r"|INVALID_(?:NODE|GRAPH)|pars(?:e|ing)",
            "this node in the model: the types, ranks and constants of its inputs, as the condition asks for them",
        ),
        (
            "building the engine",
            r"[bB]uild|optimizer|[Tt]actic|[Mm]yelin|network\.cpp|computeCosts|Timing Runner",
            "the layer that is named: its precision, shapes and neighbours; `enginesmith bisect` finds the smallest part that fails",
        ),
        (
            "checking the graph",
            r"onnx\.checker|shape_inference|INVALID_GRAPH|InvalidGraph|Load model from|InferenceSession",
            "the node or tensor that is named, and the tool that wrote the file last",
        ),
        (
            "importing into TVM",
            r"from_onnx|onnx_frontend|relay/frontend|relax/frontend|Error converting operator",
            "the operator that was converted last, and the shapes of its inputs",
        ),
        (
            "lowering in TVM",
            r"TVMError|tvm\.|relax|tir|CodeGen",
            "the pass that the last frames name, and the function that it worked on",
        ),
        (
            "exporting from PyTorch",
            r"torch[./\\]onnx|torch\.export|_dynamo|torch\.jit|aten::|tracer|symbolic_shapes",
            "the user's line in the traceback (from user code), and the operator that is named",
        ),
    )
)  # fmt: skip
_ELSEWHERE = "the lines before it: the tool says there what it was doing"


class Event(NamedTuple):
    """`tool` and `kind` are empty where the form is nobody's; `message` is the sentence without what stands around it."""

    tool: str
    kind: str
    message: str


def read_event(text: str) -> Event:
    """The line in its tool's form."""
    for tool, form in _FORMS:
        if found := form.search(text):
            groups = found.groupdict()
            return Event(tool, (groups.get("kind") or "").strip(), _sentence(groups["message"]))
    return Event("", "", text.strip())


def step_of(text: str) -> tuple[str, str]:
    """At which step of a conversion a tool says this, and what to look at next; the step is empty where that isn't known."""
    for step, pattern, advice in STEPS:
        if pattern.search(text):
            return step, advice
    return "", _ELSEWHERE


def _sentence(message: str) -> str:
    said = _AFTER.sub("", _BEFORE.sub("", _SIGNATURE.sub("", message.strip())))
    return (said or message).strip()
