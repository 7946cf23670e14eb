"""Where the time of an inference goes: the layers of a TVM module beside the kernels of ONNX Runtime, and what the machine can
do at best."""
