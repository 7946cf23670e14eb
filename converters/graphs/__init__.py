"""ONNX graphs: walked, written, run, held against each other, proved, repaired."""
