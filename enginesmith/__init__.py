"""From a PyTorch or ONNX model to a verified inference engine: TensorRT, TensorRT-RTX, TVM."""
