"""Whose log it is: names that a tool leaves in what it prints."""

from __future__ import annotations

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


class Tools:
    """Collects the tools that a log names."""

    def __init__(self) -> None:
        self._missing = dict(SIGNS)
        self.found: list[str] = []

    def read(self, text: str) -> None:
        for tool, signs in list(self._missing.items()):
            if any(sign in text for sign in signs):
                del self._missing[tool]
                self.found.append(tool)
