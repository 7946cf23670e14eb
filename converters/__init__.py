"""One module per hop: torch to ONNX, ONNX to ONNX, ONNX to engine, and the comparison between hops."""
