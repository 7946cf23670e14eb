"""From an ONNX file to a TVM module, before kernels are chosen."""
