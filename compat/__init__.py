"""What each backend and version accepts: findings, support data, diagnoses. Imports only onnx and onnx_ir."""
