"""Where the rules' knowledge is from, where that of many is from one place."""

CHECKERS = "onnx-tensorrt onnxOpCheckers.cpp"
FRONTEND = "tvm/relax/frontend/onnx/onnx_frontend.py"
BROKEN = "<0.28"
"""Versions of TVM that are known to convert wrongly: a later one must be compared anew."""
