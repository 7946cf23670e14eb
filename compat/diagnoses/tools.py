"""Whose log it is: names that a tool leaves in what it prints."""

from __future__ import annotations

import re

SIGNS: dict[str, tuple[str, ...]] = {
    "torch.onnx": ("torch.onnx", "torch/onnx", "torch\\onnx", "torch.export", "aten::"),
    "onnx": ("onnx_cpp2py_export", "onnx.checker", "onnx/checker", "onnx.shape_inference"),
    "onnxsim": ("onnxsim",),
    "onnxslim": ("onnxslim", "OnnxSlim"),
    "ONNX Runtime": ("onnxruntime", "ONNXRuntimeError"),
    "TensorRT": ("[TRT]", "nvinfer", "TensorRT", "ModelImporter.cpp", "onnx2trt", "tensorrt."),
    "TensorRT-RTX": ("tensorrt_rtx", "TensorRT-RTX", "TensorRT for RTX"),
    "trtexec": ("trtexec",),
    "Polygraphy": ("polygraphy", "Polygraphy"),
    "ModelOpt": ("modelopt",),
    "Triton Model Navigator": ("model_navigator", "model-navigator", "Model Navigator"),
    "Olive": ("olive.", "olive/", "[olive"),
    "TVM": ("tvm.", "tvm/", "TVMError", "tvm::"),
}

_VERSION = re.compile(r"TensorRT (?:v(?P<banner>\d{4,6})\]|(?:[Vv]ersion:? ?)?(?P<words>\d{1,2}\.\d{1,2})(?:\.\d|\b))")


class Tools:
    """Collects the tools that a log names."""

    def __init__(self) -> None:
        self._missing = dict(SIGNS)
        self.found: list[str] = []
        self.tensorrt = ""
        """TensorRT's version, such as 10.3, where the log tells it."""

    def read(self, text: str) -> None:
        for tool, signs in list(self._missing.items()):
            if any(sign in text for sign in signs):
                del self._missing[tool]
                self.found.append(tool)
        if not self.tensorrt and "TensorRT" in text and (said := _VERSION.search(text)):
            self.tensorrt = _version(said["banner"] or "") or said["words"] or ""


def _version(banner: str) -> str:
    """Of a number as trtexec prints it: 8601 is 8.6, 101303 is 10.13."""
    if not banner:
        return ""
    major, minor = divmod(int(banner) // 100, 10 if len(banner) < 6 else 100)
    return f"{major}.{minor}"
